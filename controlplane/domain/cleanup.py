"""What cleanups removed, and which of the old things may go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from controlplane.domain.refs import pr_ref

PERIODIC: Final = "periodic"
REMOVE_BRANCHES: Final = "remove_branches"
DAY_S: Final = 86_400.0
MOST_DETAILS: Final = 200


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """What was left over and is gone now; `details` holds lines for people, failures among them."""

    vms: int = 0
    namespaces: int = 0
    files: int = 0
    assignments: int = 0
    cgroups: int = 0
    cached: int = 0
    freed_bytes: int = 0
    branches: int = 0
    rows: int = 0
    details: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return self == CleanupReport()


@dataclass(frozen=True, slots=True)
class CleanupRun:
    """One run: of a host, or of the control plane with an empty `host_id`. `by` names who asked, or is PERIODIC."""

    host_id: str
    by: str
    started_at: float
    finished_at: float
    report: CleanupReport
    error: str = ""


@dataclass(frozen=True, slots=True)
class Retention:
    """Days that things are kept after their ticket is finished; 0 keeps them for good."""

    days: int = 30
    branch_days: int = 14

    def rows_before(self, now: float) -> float:
        """Everything older is beyond its retention; epoch seconds."""
        return now - self.days * DAY_S if self.days else 0.0

    def branches_before(self, now: float) -> float:
        return now - self.branch_days * DAY_S if self.branch_days else 0.0


def added(reports: Iterable[CleanupReport]) -> CleanupReport:
    """The sum, with the details one after the other."""
    total = CleanupReport()
    for one in reports:
        total = CleanupReport(
            vms=total.vms + one.vms,
            namespaces=total.namespaces + one.namespaces,
            files=total.files + one.files,
            assignments=total.assignments + one.assignments,
            cgroups=total.cgroups + one.cgroups,
            cached=total.cached + one.cached,
            freed_bytes=total.freed_bytes + one.freed_bytes,
            branches=total.branches + one.branches,
            rows=total.rows + one.rows,
            details=total.details + one.details,
        )
    return total


def removable(refs: Mapping[str, str], key: str, head: str) -> dict[str, str]:
    """Of a repository's refs (object id by name) those of the ticket's attempts that nothing needs any more.

    The accepted `head` stays where only its attempt's branch holds it.
    """
    mine = re.compile(rf"refs/heads/swarm/{re.escape(key)}/a[0-9]+")
    kept = "" if pr_ref(key) in refs else head
    return {ref: oid for ref, oid in refs.items() if mine.fullmatch(ref) and oid != kept}
