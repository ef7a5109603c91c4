"""Unix sockets in a VM's folder, by way of its descriptor: a path of any length fits."""

from __future__ import annotations

import os
import socket
from pathlib import Path

CONTROL = "control.sock"
CONSOLE = "console.sock"


def listen(folder: Path, name: str) -> socket.socket:
    """A listening socket at `folder`/`name`; only root can reach it."""
    with _Short(folder, name) as address:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            server.bind(address)
            (folder / name).chmod(0o600)
            server.listen(4)
        except BaseException:
            server.close()
            raise
    return server


def connect(folder: Path, name: str) -> socket.socket:
    """A non-blocking connection to the socket; succeeds before the other side has accepted."""
    with _Short(folder, name) as address:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            client.connect(address)
            client.settimeout(0)
        except BaseException:
            client.close()
            raise
    return client


class _Short:
    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name

    def __enter__(self) -> str:
        self._fd = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{self._name}"

    def __exit__(self, *exception: object) -> None:
        os.close(self._fd)
