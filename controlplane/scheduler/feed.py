"""Keeps the snapshot true: one full load, then what the event table says changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from controlplane.domain.failure import Strategy, cause_of
from controlplane.domain.host import Host
from controlplane.domain.ticket import Ticket, TicketState
from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.ports import Page, Reader, Store
from controlplane.scheduler.plan import Limits
from controlplane.scheduler.settings import read_limits
from controlplane.scheduler.snapshot import Snapshot
from controlplane.usecases.assignments import agent_name

# Every change of a ticket that matters here is an event of this topic, so a cursor misses nothing.
TOPICS: Final = (TICKETS_TOPIC, "hosts", "settings", "projects", "agents")
_CHUNK: Final = 1000
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class _Change:
    tickets: list[Ticket]
    cursor: int
    hosts: list[Host] | None
    limits: Limits | None
    avoid: Mapping[str, str]  # ticket id -> host


@dataclass(slots=True)
class Feed:
    """`limits` is None while the coordinator is stopped. `unknown` holds tickets whose agent is not registered."""

    store: Store
    snapshot: Snapshot = field(default_factory=Snapshot)
    limits: Limits | None = None
    unknown: dict[str, tuple[str, str]] = field(default_factory=dict)  # ticket id -> (key, why)
    _cursor: int = 0
    _images: dict[str, str] = field(default_factory=dict)  # agent, with and without version -> image

    async def load(self) -> None:
        """Everything, as of one moment."""
        self.snapshot, self.unknown = Snapshot(), {}
        change, images = await self.store.read(lambda reader: (_everything(reader), _images(reader)))
        self._images = images
        await self._projects(change.tickets)
        self._take(change)

    async def catch_up(self, topics: Iterable[str]) -> None:
        """What changed since the last time; `topics` are those of the bus."""
        changed = set(topics)
        if {"agents", "projects"} & changed:
            await self.load()
            return
        with_hosts = "hosts" in changed
        while True:
            cursor = self._cursor
            change = await self.store.read(partial(_since, cursor=cursor, hosts=with_hosts))
            await self._projects(change.tickets)
            self._take(change)
            if change.cursor < cursor + _CHUNK:
                return
            with_hosts = False

    async def _projects(self, tickets: Iterable[Ticket]) -> None:
        wanted = {(ticket.tenant_id, ticket.spec.project_id) for ticket in tickets if ticket.spec.project_id}
        if missing := sorted(ident for tenant, ident in wanted if (tenant, ident) not in self.snapshot.projects):
            for project in await self.store.read(lambda reader: reader.projects_by_id(missing)):
                self.snapshot.put_project(project)

    def _take(self, change: _Change) -> None:
        self._cursor = change.cursor
        self.limits = change.limits
        if change.hosts is not None:
            for gone in set(self.snapshot.hosts) - {host.id for host in change.hosts}:
                self.snapshot.drop_host(gone)
            for host in change.hosts:
                self.snapshot.put_host(host)
        for ticket in change.tickets:
            self._put(ticket, change.avoid.get(ticket.id, ""))

    def _put(self, ticket: Ticket, avoid: str) -> None:
        project = self.snapshot.projects.get((ticket.tenant_id, ticket.spec.project_id))
        name = agent_name(ticket, project)
        self.unknown.pop(ticket.id, None)
        if name in self._images or ticket.state is not TicketState.READY:
            self.snapshot.put_ticket(ticket, self._images.get(name, ""), avoid)
            return
        self.snapshot.drop_ticket(ticket.id)
        self.unknown[ticket.id] = (ticket.key, f"there is no agent {name}")


def _everything(reader: Reader) -> _Change:
    tail, tickets = reader.tail(TICKETS_TOPIC, 1), reader.live_tickets()
    cursor = tail[-1].seq if tail else 0
    return _Change(tickets, cursor, _hosts(reader), read_limits(reader), _avoid(reader, tickets))


def _since(reader: Reader, *, cursor: int, hosts: bool) -> _Change:
    events = reader.events(TICKETS_TOPIC, cursor, _CHUNK)
    ids = list(dict.fromkeys(event.data["ticket_id"] for event in events))
    after = events[-1].seq if events else cursor
    tickets = reader.tickets_by_id(ids) if ids else []
    found = _hosts(reader) if hosts else None
    return _Change(tickets, after, found, read_limits(reader), _avoid(reader, tickets))


def _avoid(reader: Reader, tickets: Iterable[Ticket]) -> dict[str, str]:
    """Where the last attempt ended by the host's fault. Tickets that nothing happened to are not looked up."""
    lost = {
        ticket.attempt_id: ticket.id
        for ticket in tickets
        if ticket.causes
        and ticket.state is TicketState.READY
        and cause_of(ticket.causes[-1]).strategy is Strategy.ELSEWHERE
    }
    return {lost[attempt.id]: attempt.host_id for attempt in reader.attempts_by_id(list(lost))} if lost else {}


def _hosts(reader: Reader) -> list[Host]:
    found, token = reader.hosts(Page(_PAGE))
    while token:
        page, token = reader.hosts(Page(_PAGE, token))
        found += page
    return found


def _images(reader: Reader) -> dict[str, str]:
    """The newest version answers to the bare name."""
    images: dict[str, str] = {}
    for agent in reader.agents():
        images[f"{agent.name}@{agent.version}"] = agent.image
        newest = reader.agent(agent.name)
        images[agent.name] = newest.image if newest else agent.image
    return images
