"""Folds the log into the database beside the writer, so that no commit waits for it."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

import apsw

# Pages of 4 KiB. From DUE on it is folded in; where that falls behind, the commit that reaches MOST does what is left,
# and the next one begins the log anew.
DUE: Final = 1000
MOST: Final = 4000


class Checkpointer:
    """A thread with a connection of its own. `start` takes the one that writes; `stop` before that is closed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._due = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="store-checkpoint", daemon=True)

    def start(self, writing: apsw.Connection) -> None:
        writing.set_wal_hook(self._committed)
        self._thread.start()

    def stop(self) -> None:
        """Blocks until it ended."""
        self._stopping = True
        self._due.set()
        self._thread.join()

    def _committed(self, writing: apsw.Connection, _name: str, pages: int) -> int:
        if pages >= MOST:
            fold(writing)
        elif pages >= DUE:
            self._due.set()
        return apsw.SQLITE_OK

    def _loop(self) -> None:
        connection = apsw.Connection(self._path, flags=apsw.SQLITE_OPEN_READWRITE)
        connection.pragma("synchronous", "FULL")
        while self._due.wait() and not self._stopping:
            self._due.clear()
            fold(connection)
        connection.close()


def fold(connection: apsw.Connection) -> None:
    """As far as readers let it, and without waiting. What fails is done again after the next commits."""
    with suppress(apsw.Error):
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
