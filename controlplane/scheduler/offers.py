"""Ready tickets of external agents, on offer to programs that claim them, in the order that hosts would get them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from controlplane.domain.project import Project
from controlplane.domain.ticket import Ticket
from controlplane.scheduler.rank import Entry, TicketRank, ticket_rank
from controlplane.scheduler.snapshot import ProjectKey

# Said on the bus when a claim that waits may find something.
TOPIC: Final = "offers"
WAITS: Final = "waits for an external agent"

OfferQueue: TypeAlias = tuple[ProjectKey, str]  # project, agent as name@version


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a claim takes: of any external agent and project where none is named; a ticket has all of `tags`."""

    tenant_id: str
    agents: tuple[str, ...] = ()
    project_id: str = ""
    tags: frozenset[str] = frozenset()

    def takes(self, queue: OfferQueue) -> bool:
        (tenant_id, project_id), agent = queue
        return (
            tenant_id == self.tenant_id
            and self.project_id in {"", project_id}
            and (not self.agents or agent in self.agents or agent.partition("@")[0] in self.agents)
        )


@dataclass(frozen=True, slots=True)
class Offer:
    ticket: Ticket
    queue: OfferQueue
    entry: Entry


@dataclass(slots=True)
class Offers:
    """Lives on the event loop: what `take` gave is nobody else's until it is put again."""

    _offers: dict[str, Offer] = field(default_factory=dict)
    _queues: dict[OfferQueue, list[Entry]] = field(default_factory=dict)
    _delayed: dict[str, float] = field(default_factory=dict)

    def put(self, ticket: Ticket, agent: str) -> None:
        """`agent` is name@version; replaces what was known of the ticket."""
        self.drop(ticket.id)
        queue = ((ticket.tenant_id, ticket.spec.project_id), agent)
        self.restore(Offer(ticket, queue, (ticket.spec.priority, ticket.created_at, ticket.key, ticket.id)))

    def restore(self, offer: Offer) -> None:
        """Puts back what was taken, unless the ticket was put again meanwhile."""
        ticket = offer.ticket
        if ticket.id in self._offers:
            return
        self._offers[ticket.id] = offer
        insort(self._queues.setdefault(offer.queue, []), offer.entry)
        if ticket.not_before:
            self._delayed[ticket.id] = ticket.not_before

    def drop(self, ticket_id: str) -> None:
        self._delayed.pop(ticket_id, None)
        offer = self._offers.pop(ticket_id, None)
        if offer is None:
            return
        entries = self._queues[offer.queue]
        del entries[bisect_left(entries, offer.entry)]
        if not entries:
            del self._queues[offer.queue]

    def take(
        self, wanted: Wanted, now: float, running: Mapping[ProjectKey, int], projects: Mapping[ProjectKey, Project]
    ) -> Offer | None:
        """The first that fits, which is no longer on offer then."""
        best: tuple[TicketRank, str] | None = None
        for queue in self._queues:
            busy = running.get(queue[0], 0)
            if wanted.takes(queue) and not full(projects.get(queue[0]), busy):
                entry = next((each for each in self._queues[queue] if self._fits(each[3], wanted, now)), None)
                if entry and (best is None or (ticket_rank(entry, busy), entry[3]) < best):
                    best = (ticket_rank(entry, busy), entry[3])
        if best is None:
            return None
        offer = self._offers[best[1]]
        self.drop(best[1])
        return offer

    def next_due(self, now: float) -> float | None:
        """When the next retry delay is over."""
        return min((at for at in self._delayed.values() if at > now), default=None)

    def waiting(self, tenant_id: str = "") -> Iterator[tuple[str, str]]:
        """(key, why) of all, or of one tenant's."""
        found = (offer.ticket for offer in self._offers.values())
        return ((ticket.key, WAITS) for ticket in found if tenant_id in {"", ticket.tenant_id})

    def __len__(self) -> int:
        return len(self._offers)

    def _fits(self, ticket_id: str, wanted: Wanted, now: float) -> bool:
        ticket = self._offers[ticket_id].ticket
        return ticket.not_before <= now and wanted.tags <= set(ticket.spec.tags)


def full(project: Project | None, running: int) -> bool:
    """Whether the project has as much at once as it may."""
    most = project.spec.max_concurrency if project else 0
    return bool(most) and running >= most
