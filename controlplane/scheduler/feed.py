"""Keeps the snapshot true: one full load, then what the event table says changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from controlplane.domain.circuit import CLAUDE
from controlplane.domain.failure import cause_of
from controlplane.domain.host import Host
from controlplane.domain.ticket import Ticket, TicketState
from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.ports import Moved, Reader, Store
from controlplane.scheduler.gate import Gate, Gated
from controlplane.scheduler.offers import Offers
from controlplane.scheduler.plan import Limits
from controlplane.scheduler.settings import read_limits
from controlplane.scheduler.snapshot import Snapshot
from controlplane.usecases import workflows
from controlplane.usecases.assignments import runner_name
from controlplane.usecases.hosts import all_hosts
from controlplane.usecases.needs import needed

# Every change of a ticket that matters here is an event of this topic, so a cursor misses nothing.
TOPICS: Final = (TICKETS_TOPIC, "host:*", "settings", "projects", "agents")
ALL_HOSTS: Final = "host:*"  # what the bus says, too, when it has lost count
_CHUNK: Final = 1000
_MOST_NEWS: Final = 1000


@dataclass(frozen=True, slots=True)
class _Runner:
    """What placing has to know of an agent or a workflow; `name` with its version."""

    name: str
    image: str
    external: bool = False
    gated: bool = False  # by the circuit of Claude


@dataclass(frozen=True, slots=True)
class _Change:
    tickets: list[Ticket]
    cursor: int
    hosts: list[Host]
    whole: bool  # whether these are all hosts
    limits: Limits | None


@dataclass(slots=True)
class Feed:
    """`limits` is None while the coordinator is stopped. `unknown` holds tickets whose runner is not registered."""

    store: Store
    snapshot: Snapshot = field(default_factory=Snapshot)
    limits: Limits | None = None
    unknown: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # ticket id -> (tenant, key, why)
    offers: Offers = field(default_factory=Offers)
    gate: Gate = field(default_factory=lambda: Gate(CLAUDE))
    _cursor: int = 0
    _news: deque[Moved] = field(default_factory=deque)
    _runners: dict[str, _Runner] = field(default_factory=dict)  # by what `runner_name` says, with and without version

    async def load(self) -> None:
        """Everything, as of one moment."""
        change, runners = await self.store.read(lambda reader: (_everything(reader), _runners(reader)))
        self.snapshot, self.unknown, self.offers, self.gate = Snapshot(), {}, Offers(), Gate(CLAUDE)
        self._runners = runners
        await self._projects(change.tickets)
        self._take(change, await self._avoided(change.tickets))

    def hear(self, moved: Moved) -> None:
        """What this process has just committed; taken in by the next `catch_up`."""
        if len(self._news) >= _MOST_NEWS:
            self._news.clear()  # the table has it all
        self._news.append(moved)

    async def catch_up(self, topics: Iterable[str]) -> None:
        """What changed since the last time; `topics` are those of the bus.

        The table is read only for what was not heard: hosts and settings, a gap, what another process wrote.
        """
        changed = set(topics)
        if {"agents", "projects"} & changed:
            await self.load()
            return
        heard = await self._listen()
        if not heard or changed - {TICKETS_TOPIC}:
            await self._read(changed)

    async def _listen(self) -> bool:
        """Whether there was news, and nothing is missing before it."""
        heard = False
        while self._news:
            moved = self._news.popleft()
            if moved.after > self._cursor:
                self._news.clear()
                return False
            if moved.upto > self._cursor:
                await self._projects(moved.tickets)
                avoid = await self._avoided(moved.tickets)
                for ticket in moved.tickets:
                    self._put(ticket, avoid.get(ticket.id, ""))
                self._cursor = moved.upto
            heard = True
        return heard

    async def _read(self, topics: Collection[str]) -> None:
        while True:
            cursor = self._cursor
            change = await self.store.read(partial(_since, cursor=cursor, topics=topics))
            await self._projects(change.tickets)
            self._take(change, await self._avoided(change.tickets))
            if change.cursor < cursor + _CHUNK:
                return
            topics = ()

    async def _projects(self, tickets: Iterable[Ticket]) -> None:
        wanted = {(ticket.tenant_id, ticket.spec.project_id) for ticket in tickets if ticket.spec.project_id}
        if missing := sorted(ident for tenant, ident in wanted if (tenant, ident) not in self.snapshot.projects):
            for project in await self.store.read(lambda reader: reader.projects_by_id(missing)):
                self.snapshot.put_project(project)

    async def _avoided(self, tickets: Iterable[Ticket]) -> Mapping[str, str]:
        """By ticket the host that ended its last attempt by its own fault. Others are not looked up."""
        lost = {
            ticket.attempt_id: ticket.id
            for ticket in tickets
            if ticket.causes and ticket.state is TicketState.READY and cause_of(ticket.causes[-1]).leaves
        }
        if not lost:
            return {}
        attempts = await self.store.read(lambda reader: reader.attempts_by_id(list(lost)))
        return {lost[attempt.id]: attempt.host_id for attempt in attempts}

    def _take(self, change: _Change, avoid: Mapping[str, str]) -> None:
        self._cursor = change.cursor
        self.limits = change.limits
        if change.whole:
            for gone in set(self.snapshot.hosts) - {host.id for host in change.hosts}:
                self.snapshot.drop_host(gone)
        for host in change.hosts:
            self.snapshot.put_host(host)
        for ticket in change.tickets:
            self._put(ticket, avoid.get(ticket.id, ""))

    def regulate(self, room: int | None) -> None:
        """Lets a plan see as many of the tickets that need Claude as may be live at once; None: all."""
        passing, called = self.gate.turn(room)
        for each in passing:
            self.snapshot.put_ticket(each.ticket, each.image, each.avoid)
        for ident in called:
            self.snapshot.drop_ticket(ident)

    def _put(self, ticket: Ticket, avoid: str) -> None:
        self.unknown.pop(ticket.id, None)
        self.offers.drop(ticket.id)
        project = self.snapshot.projects.get((ticket.tenant_id, ticket.spec.project_id))
        name = runner_name(ticket, project)
        runner = self._runners.get(name)
        if runner and runner.gated:
            self.gate.put(Gated(ticket, runner.image, avoid))
        if ticket.state is not TicketState.READY:
            self.snapshot.put_ticket(ticket)
            return
        if runner and not runner.external and not runner.gated:
            self.snapshot.put_ticket(ticket, runner.image, avoid)
            return
        self.snapshot.drop_ticket(ticket.id)
        if runner and runner.external:
            self.offers.put(ticket, runner.name)
        else:
            self.unknown[ticket.id] = (ticket.tenant_id, ticket.key, f"there is no {name}")


def _everything(reader: Reader) -> _Change:
    tail, tickets = reader.tail(TICKETS_TOPIC, 1), reader.live_tickets()
    cursor = tail[-1].seq if tail else 0
    return _Change(tickets, cursor, list(all_hosts(reader)), whole=True, limits=read_limits(reader))


def _since(reader: Reader, *, cursor: int, topics: Collection[str]) -> _Change:
    events = reader.events(TICKETS_TOPIC, cursor, _CHUNK)
    ids = list(dict.fromkeys(event.data["ticket_id"] for event in events))
    after = events[-1].seq if events else cursor
    tickets = reader.tickets_by_id(ids) if ids else []
    whole = ALL_HOSTS in topics
    hosts = list(all_hosts(reader)) if whole else reader.hosts_by_id(_named(topics))
    return _Change(tickets, after, hosts, whole, read_limits(reader))


def _named(topics: Collection[str]) -> list[str]:
    return sorted(ident for kind, _, ident in (topic.partition(":") for topic in topics) if kind == "host")


def _runners(reader: Reader) -> dict[str, _Runner]:
    """The newest version of an agent answers to its bare name; a ticket's workflow always has its version."""
    runners: dict[str, _Runner] = {}
    for each in reader.agents(None):
        newest = reader.agent(None, each.name) or each
        for name, agent in ((f"agent {each.name}@{each.version}", each), (f"agent {each.name}", newest)):
            gated = CLAUDE in agent.upstreams and not agent.external
            runners[name] = _Runner(f"{agent.name}@{agent.version}", agent.image, agent.external, gated)
    for workflow in reader.workflows(None):
        known = workflows.agents_of(reader, workflow)
        if image := workflows.image_of(workflow, known):
            runners[f"workflow {workflow.ref}"] = _Runner(workflow.ref, image, gated=CLAUDE in needed(known.values()))
    return runners
