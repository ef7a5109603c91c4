"""What must survive a crash of hostd: one file per attempt, until the control plane has acknowledged its end."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from hostd import record
from hostd.errors import DamagedStateError
from hostd.messages import Assignment, Finished
from hostd.ports import BootTiming, Checkout, Tier
from hostd.statedir import write_atomic

log = logging.getLogger("hostd.runner")


class Phase(StrEnum):
    """Only a `started` attempt can be adopted: its VM runs and everything the broker needs is written down.

    Before that nothing is written, so that no disk stands between an assignment and its agent.
    """

    ASSIGNED = "assigned"
    STARTED = "started"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Entry:
    """Empty strings stand for what is not known yet; `outcome` is hexadecimal."""

    assignment: Assignment
    phase: Phase = Phase.ASSIGNED
    vm_id: str = ""
    machine_id: str = ""
    template: str = ""
    boot: BootTiming = field(default_factory=lambda: BootTiming(Tier.T2, 0))
    staging: str = ""
    base: str = ""
    default_branch: str = ""
    conflicts: tuple[str, ...] = ()
    merge_heads: tuple[str, ...] = ()
    head: str = ""
    findings: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    answers: dict[str, str] = field(default_factory=dict)  # by the number of the question
    outcome: str = ""
    cause: str = ""
    reason: str = ""

    @property
    def id(self) -> str:
        return self.assignment.attempt.attempt_id

    def checkout(self) -> Checkout | None:
        """None: the ticket has no repository, or it is not prepared yet."""
        if not self.staging:
            return None
        return Checkout(self.base, Path(self.staging), self.default_branch, self.conflicts, self.merge_heads)

    def finished(self) -> Finished:
        return Finished(
            attempt=self.assignment.attempt,
            outcome=bytes.fromhex(self.outcome),
            head=self.head,
            cause=self.cause,
            reason=self.reason,
            findings=self.findings,
            blocked_calls=self.blocked,
            template_digest=self.template,
            base=self.base,
        )


class Journal:
    """Files `<attempt id>.json` in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, attempt_id: str) -> Path:
        return self._folder / f"{attempt_id}.json"

    def save(self, entry: Entry, *, sync: bool = False) -> None:
        """Write for a process crash, with `sync` for a power loss too. Not twice at once for the same attempt."""
        write_atomic(self._path(entry.id), record.encode(entry), sync=sync)

    def delete(self, attempt_id: str) -> None:
        self._path(attempt_id).unlink(missing_ok=True)

    def load(self) -> list[Entry]:
        """All entries, oldest first; a damaged file is set aside with a log line, its attempt is lost."""
        entries = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                entries.append(record.load(Entry, path, "its attempt is reported lost"))
            except DamagedStateError as error:
                log.error("damaged attempt file", extra={"reason": str(error)})  # noqa: TRY400  # the line says it all
                path.replace(path.with_suffix(".damaged"))
        return entries
