"""Claims: leases of programs that bring their own sandbox. They are held as a host holds its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controlplane.domain.failure import CAUSES, GUEST_CAUSES, Fault
from controlplane.domain.lease import LeaseRef
from controlplane.errors import InvalidInput, Violation

HOLDER: Final = "ex"
DEFAULT_LEASE_S: Final = 60.0
LEAST_LEASE_S: Final = 15.0
LONGEST_LEASE_S: Final = 3600.0
# All that one attempt may say; what comes after it is dropped.
MOST_EVENT_BYTES: Final = 16 << 20
# What a program knows of itself and of its own sandbox; that nobody was at fault is not its to say.
_BLAMABLE: Final = GUEST_CAUSES | {
    cause.name for cause in CAUSES.values() if cause.fault in {Fault.HOST, Fault.UPSTREAM}
}


@dataclass(frozen=True, slots=True)
class Claim:
    """`host_id` is the claim's own; it stands on the lease where a host's would. `event_bytes` counts what was said.

    `request_key` is the idempotency key that it was made under, empty for none; `request_hash` what was asked.
    """

    attempt_id: str
    ticket_id: str
    host_id: str
    worker: str
    principal: str
    lease_s: float
    created_at: float
    request_key: str = ""
    request_hash: str = ""
    event_bytes: int = 0

    def lease(self, fence: int) -> LeaseRef:
        return LeaseRef(self.attempt_id, self.ticket_id, fence)


def is_external(host_id: str) -> bool:
    """Whether a lease is a claim's and not a host's."""
    return host_id.startswith(f"{HOLDER}_")


def lease_of(asked_s: float, ttl_s: float) -> float:
    """Seconds of a lease. The least is that of hosts where those are shorter than 15 s; 0 asks for the default."""
    least = min(LEAST_LEASE_S, ttl_s)
    if asked_s and not least <= asked_s <= LONGEST_LEASE_S:
        reason = f"must be {least:g} s to {LONGEST_LEASE_S:g} s"
        raise InvalidInput(f"lease {reason}", violations=(Violation("/lease", reason),))
    return asked_s or DEFAULT_LEASE_S


def blamed(cause: str) -> str:
    """The cause that an attempt ends with: what the program says, where that may be its to say."""
    return cause if cause in _BLAMABLE else "agent_crashed"
