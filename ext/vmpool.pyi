"""Ready VMs, handed to exactly one taker each, and the call that sets one running."""

from typing import Self, final

@final
class VmPool:
    """A lock-free set of at most ``capacity`` ready VMs, safe from any number of threads.

    A VM is an opaque ``token`` (>= 0, unique among those offered) and its control socket, which stays the caller's.
    """

    def __new__(cls, capacity: int) -> Self: ...
    def put(self, token: int, control: int) -> bool:
        """Offer a VM. False when the pool is full or closed: it was not taken in."""

    def acquire(self) -> tuple[int, int] | None:
        """Take any VM out as ``(token, control)``; None when there is none."""

    def take(self, token: int) -> bool:
        """Take that one out (it died, it is retired). False when somebody else has it."""

    def close(self) -> None:
        """Refuse every later ``put``. What is inside can still be acquired, which is how the pool is emptied."""

    @property
    def closed(self) -> bool: ...
    def __len__(self) -> int: ...

def resume(control: int, request: bytes, timeout_ms: int) -> int:
    """Send one QMP line and wait for its answer. Returns ``time.monotonic_ns()`` of the moment the answer came.

    Events are skipped, and nothing after the answer is consumed. Raises ``TimeoutError``, ``ConnectionResetError`` when
    the VMM hung up, ``OSError`` with EPROTO for an error answer or a malformed line, EMSGSIZE beyond 64 KiB.
    """
