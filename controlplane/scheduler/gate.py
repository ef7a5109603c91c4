"""Holds back tickets whose agents need an upstream while its circuit is open: they would only use up their attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from controlplane.domain.ticket import LEASED, Ticket, TicketState

Room = Callable[[str], int | None]


@dataclass(frozen=True, slots=True)
class Gated:
    """A ready ticket, with what placing it has to know."""

    ticket: Ticket
    image: str
    avoid: str

    @property
    def rank(self) -> tuple[int, float, str]:
        return self.ticket.spec.priority, self.ticket.created_at, self.ticket.id


@dataclass(slots=True)
class Gate:
    """Of one upstream. `passed` are those that a plan may place."""

    upstream: str
    held: dict[str, Gated] = field(default_factory=dict)
    passed: dict[str, Gated] = field(default_factory=dict)
    live: set[str] = field(default_factory=set)

    def put(self, gated: Gated) -> None:
        """What is new of a ticket that needs the upstream; a ready one is held until the next turn."""
        ident = gated.ticket.id
        self.drop(ident)
        if gated.ticket.state is TicketState.READY:
            self.held[ident] = gated
        elif gated.ticket.state in LEASED:
            self.live.add(ident)

    def drop(self, ticket_id: str) -> None:
        self.held.pop(ticket_id, None)
        self.passed.pop(ticket_id, None)
        self.live.discard(ticket_id)

    def turn(self, room: int | None) -> tuple[Sequence[Gated], Sequence[str]]:
        """Those that pass now, and the ids of those that are called back. `room` counts what is live; None: no end."""
        if room is None:
            passing, self.held = list(self.held.values()), {}
            self.passed |= {each.ticket.id: each for each in passing}
            return passing, ()
        free = max(0, room - len(self.live))
        first = sorted((self.held | self.passed).values(), key=lambda each: each.rank)[:free]
        chosen = {each.ticket.id: each for each in first}
        called = [ident for ident in self.passed if ident not in chosen]
        passing = [each for ident, each in chosen.items() if ident in self.held]
        self.held = {ident: each for ident, each in (self.held | self.passed).items() if ident not in chosen}
        self.passed = chosen
        return passing, called

    def waiting(self, tenant_id: str = "") -> Iterator[tuple[str, str]]:
        """(key, why) of those that are held, or of one tenant's."""
        why = f"waits for {self.upstream}, by which too many attempts failed"
        found = (each.ticket for each in self.held.values())
        return ((ticket.key, why) for ticket in found if tenant_id in {"", ticket.tenant_id})
