"""The audit log as a chain: each row is sealed with a key over itself and the seal of the row before it.

Whoever can write to the database and has no key can alter, remove or insert nothing unseen, but may cut the end off.
That is what heads are for: the last row's number and seal, written down elsewhere from time to time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from controlplane.errors import StartError

SHORTEST_KEY: Final = 32
ROTATED: Final = "audit.key"  # the last row under a key names the next one
RESTORED: Final = "backup.restore"  # may be the first under another key, where the old one was lost
SYSTEM: Final = "system"


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who did what, in which request; `time` in epoch seconds, `seq` from 1 in the order of the commits.

    `key` names the key of the seal `mac`, both in hex; both are empty before the row is sealed.
    """

    seq: int
    time: float
    action: str
    principal: str
    request_id: str
    data: Mapping[str, Any]
    tenant_id: str = ""
    user_id: str = ""
    key: str = ""
    mac: str = ""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Everything that is set must fit; `action` may end in `*`. Of one tenant, and what belongs to none if told so."""

    tenant_id: str
    untenanted: bool = False
    actor: str = ""
    action: str = ""
    request_id: str = ""
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of the chain at some time."""

    seq: int
    mac: str


@dataclass(frozen=True, slots=True)
class Seals:
    """Keys by their names, the one that seals new rows last."""

    keys: Mapping[str, bytes]

    @classmethod
    def of(cls, secrets: Iterable[str]) -> Seals:
        """`StartError` for a key that is too short to be one, and for none at all."""
        found = list(dict.fromkeys(secrets))
        if not found or any(len(each) < SHORTEST_KEY for each in found):
            raise StartError(f"a key of the audit log has at least {SHORTEST_KEY} characters", reason="bad_audit_key")
        return cls({name_of(each): each.encode() for each in found})

    @property
    def current(self) -> str:
        return next(reversed(list(self.keys)))

    def mac(self, key: str, before: str, row: AuditRow) -> str:
        """The seal in hex; `before` is that of the row before it, empty for the first."""
        return hmac.digest(self.keys[key], before.encode() + canonical(row), "sha256").hex()


def name_of(secret: str) -> str:
    """Short, and tells nothing of the key."""
    return hashlib.sha256(b"swarm audit key " + secret.encode()).hexdigest()[:12]


def canonical(row: AuditRow) -> bytes:
    """The same bytes for the same row whatever database it came from: `data` is JSON, whose order is kept."""
    parts = (row.seq, row.time, row.action, row.principal, row.tenant_id, row.user_id, row.request_id, row.data)
    return json.dumps(parts, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Broken:
    """The first row that is not as it was written, or the number of the first that is missing."""

    seq: int
    reason: str


@dataclass(slots=True)
class Inspection:
    """Checks rows in their order, some at a time; `heads` are what was written down elsewhere, in any order."""

    seals: Seals
    heads: Sequence[AuditHead] = ()
    rows: int = 0
    broken: Broken | None = None
    last: AuditRow | None = None
    _known: dict[int, str] = field(init=False)

    def __post_init__(self) -> None:
        self._known = {}
        for head in self.heads:
            self._known.setdefault(head.seq, head.mac)

    @property
    def reached(self) -> int:
        return self.last.seq if self.last else 0

    @property
    def head(self) -> AuditHead | None:
        return AuditHead(self.last.seq, self.last.mac) if self.last else None

    def take(self, rows: Sequence[AuditRow]) -> bool:
        """Whether there is a reason to go on."""
        for row in rows:
            self.broken = self._fault(row)
            if self.broken:
                break
            self.last, self.rows = row, self.rows + 1
        return bool(rows) and self.broken is None

    def end(self) -> Broken | None:
        """The verdict, once all rows were taken."""
        beyond = [seq for seq in self._known if seq > self.reached]
        if self.broken is None and beyond:
            self.broken = Broken(self.reached + 1, f"the end is missing: there was a row {max(beyond)}")
        return self.broken

    def _fault(self, row: AuditRow) -> Broken | None:
        before, last = ("", 0) if self.last is None else (self.last.mac, self.last.seq)
        if row.seq != last + 1:
            return Broken(last + 1, f"rows are missing before {row.seq}")
        if row.key not in self.seals.keys:
            return Broken(row.seq, f"sealed with a key {row.key or 'without a name'} that is not known")
        if self.last and row.key != self.last.key and not self._handed_over(self.last, row):
            return Broken(row.seq, "the key changed and the row before does not say so")
        if not hmac.compare_digest(self.seals.mac(row.key, before, row), row.mac):
            return Broken(row.seq, "it is not what was written, or not where it was")
        if self._known.get(row.seq, row.mac) != row.mac:
            return Broken(self._grown_from(row.seq), "the end was cut off and written anew: another head was seen")
        return None

    def _handed_over(self, last: AuditRow, row: AuditRow) -> bool:
        """Keys only ever follow each other: an old one that leaked opens nothing after its time."""
        order = list(self.seals.keys)
        marked = row.action == RESTORED or (last.action == ROTATED and last.data.get("key") == row.key)
        return marked and order.index(last.key) < order.index(row.key)

    def _grown_from(self, seq: int) -> int:
        """Rows up to the head before are what they were; from the next on nobody can tell."""
        return 1 + max((known for known in self._known if known < seq), default=0)
