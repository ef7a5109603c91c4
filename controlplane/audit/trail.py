"""Watches over the audit log while the process runs: seals what is older than seals, notes heads, checks the chain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from controlplane import metrics
from controlplane.audit.heads import all_in, append, last_in
from controlplane.domain.audit import AuditHead, AuditRow, Inspection, Seals
from controlplane.errors import StartError, SwarmError
from controlplane.ports import Reader
from controlplane.stores.store import SqlStore
from controlplane.tasks import end

log = logging.getLogger(__name__)

FILE: Final = "audit.heads"
PAGE: Final = 1000


class Trail:
    """`files` take the heads. The first is in the state directory, where only this program writes.

    The other belongs where whoever can write to this machine cannot: a mount, or a folder that is shipped away.
    """

    def __init__(self, store: SqlStore, seals: Callable[[], Seals], files: Sequence[Path], *, every_s: float) -> None:
        self._store = store
        self._load = seals
        self._seals = seals()
        self._files = files
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """`StartError` when the newest row has a seal whose key is not there: nobody could verify it any more."""
        row = await self._store.read(newest)
        if row and row.key and row.key not in self._seals.keys:
            raise StartError(f"the audit log is sealed with key {row.key}: it is neither in audit.key nor in AUDIT_KEY")
        if not self._files[0].exists() and (count := await self._store.write(lambda tx: tx.seal_audit())):
            log.info("older rows of the audit log were sealed", extra={"rows": count})
        self._task = asyncio.create_task(self._run(), name="audit trail")

    async def stop(self) -> None:
        """Notes a last head, so that nothing is cut off unseen while nobody runs."""
        if self._task is not None:
            await end(self._task)
            self._task = None
            await self.note()

    def renew(self) -> None:
        """Takes up new keys. `StartError`, and the old ones stay, when one is gone that rows are sealed with."""
        found = self._load()
        if not found.keys.keys() >= self._seals.keys.keys():
            raise StartError("AUDIT_KEY must go on to hold the keys that older rows are sealed with; add the new one")
        self._seals = found
        self._store.reseal(found)

    async def inspect(self, heads: Sequence[AuditHead] = ()) -> Inspection:
        """The whole chain against its keys, these heads and those of the files. Long logs are read in many steps."""
        known = [head for file in self._files for head in all_in(file)]
        found = Inspection(self._seals, (*known, *heads))
        while await self._store.read(lambda reader: found.take(reader.audit(found.reached, PAGE))):
            pass
        found.end()
        return found

    async def note(self) -> None:
        """Writes down the present head, unless the chain is not what the one before says."""
        try:
            head = await self._store.read(lambda reader: reader.audit_head())
            for file in self._files:
                await self._note(file, head)
        except (OSError, SwarmError) as fault:
            log.warning("a head of the audit log could not be written: %s", fault)

    async def _note(self, file: Path, head: AuditHead | None) -> None:
        known = last_in(file)
        if known is not None and await self._gone(known):
            metrics.AUDIT_BROKEN.set(1)
            log.error("the audit log was altered: row %d is not the one in %s", known.seq, file)
        elif head is not None and head != known:
            append(file, head, self._store.now())

    async def _gone(self, known: AuditHead) -> bool:
        row = await self._store.read(lambda reader: reader.audit_row(known.seq))
        return row is None or row.mac != known.mac

    async def _run(self) -> None:
        while True:
            await self.note()
            await asyncio.sleep(self._every_s)


def newest(reader: Reader) -> AuditRow | None:
    head = reader.audit_head()
    return reader.audit_row(head.seq) if head else None
