"""How attempts failed lately, counted by what people ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from controlplane.domain.call import Call
from controlplane.ports import FailureCount, Reader

DAY_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Failures:
    """Counts by name, of attempts that ended from `since` on; hosts by name where they are still known."""

    since: float
    attempts: int
    failed: int
    dead_letters: int
    by_cause: Mapping[str, int]
    by_fault: Mapping[str, int]
    by_host: Mapping[str, int]
    by_agent: Mapping[str, int]


def failures(reader: Reader, call: Call, window_s: float = 0.0) -> Failures:
    """Of the last `window_s` seconds; 0: of a day."""
    since = call.now - (window_s or DAY_S)
    tenant = call.principal.tenant_id
    counts = reader.failures_since(tenant, since)
    return Failures(
        since=since,
        attempts=reader.attempts_since(tenant, since),
        failed=sum(each.count for each in counts),
        dead_letters=reader.dead_letters(tenant),
        by_cause=_by(counts, "cause"),
        by_fault=_by(counts, "fault"),
        by_host={_host(reader, ident): count for ident, count in _by(counts, "host_id").items()},
        by_agent=_by(counts, "agent"),
    )


def _by(counts: list[FailureCount], field: str) -> dict[str, int]:
    """The most frequent first; ties by name, so that two calls agree."""
    found: Counter[str] = Counter()
    for each in counts:
        found[getattr(each, field)] += each.count
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _host(reader: Reader, ident: str) -> str:
    host = reader.host(ident)
    return host.name if host else ident
