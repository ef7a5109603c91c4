"""Wrong guesses of passwords and codes, counted by account and by address: ever longer pauses after too many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controlplane.domain import lifetimes

ACCOUNT_GUESSES: Final = 10
ADDRESS_GUESSES: Final = 50  # many people may share one
FIRST_PAUSE: Final = lifetimes.MINUTE
LONGEST_PAUSE: Final = 15 * lifetimes.MINUTE
FORGOTTEN_AFTER: Final = lifetimes.DAY


@dataclass(frozen=True, slots=True)
class Guesses:
    """`subject` is `account:EMAIL` or `address:IP`; nothing is taken from it before `locked_until`."""

    subject: str
    count: int = 0
    last_at: float = 0.0
    locked_until: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next guess is taken; 0: now."""
        return max(0.0, self.locked_until - now)

    def wrong(self, now: float) -> Guesses:
        """After one more."""
        count = 1 if now - self.last_at > FORGOTTEN_AFTER else self.count + 1
        over = count - allowed(self.subject)
        if over < 0:
            return Guesses(self.subject, count, now)
        return Guesses(self.subject, count, now, now + min(FIRST_PAUSE * 2 ** min(over, 10), LONGEST_PAUSE))


def allowed(subject: str) -> int:
    """Guesses before the first pause."""
    return ADDRESS_GUESSES if subject.startswith("address:") else ACCOUNT_GUESSES


def subjects(email: str, address: str) -> tuple[str, ...]:
    """Whom a guess counts against. Whoever reaches the Unix socket has no address, and is let in by its owner."""
    return (f"account:{email}", *((f"address:{address}",) if address else ()))
