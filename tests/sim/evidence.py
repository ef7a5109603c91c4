"""All that is known after a run: the history, and what database, forge and hosts hold at rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from controlplane.domain.event import Event
from controlplane.domain.project import Project
from controlplane.domain.pullrequest import PullRequest
from controlplane.domain.ticket import Attempt, Ticket
from controlplane.ports import Reader
from controlplane.stores.tokens import Tokens
from controlplane.stores.transaction import Reads
from tests.sim.history import Entry

if TYPE_CHECKING:
    from tests.sim.world import World

T = TypeVar("T")

CHUNK = 500
TENANT = "default"


@dataclass(frozen=True, slots=True)
class Restored:
    """When a backup was put in the place of the database, and when it had been made."""

    at: float
    since: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """`capacity` is the VMs of each host, `published` the heads of each PR branch, `heads` who pushed a head."""

    history: Sequence[Entry]
    rested: bool = True
    restored: Restored | None = None
    tickets: Mapping[str, Ticket] = field(default_factory=dict)
    attempts: Mapping[str, Sequence[Attempt]] = field(default_factory=dict)
    events: Mapping[str, Sequence[Event]] = field(default_factory=dict)
    pull_requests: Mapping[str, PullRequest] = field(default_factory=dict)
    projects: Mapping[str, Project] = field(default_factory=dict)
    pending_effects: Sequence[str] = ()
    capacity: Mapping[str, int] = field(default_factory=dict)
    published: Mapping[str, Sequence[str]] = field(default_factory=dict)
    heads: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    leftovers: Mapping[str, Sequence[str]] = field(default_factory=dict)  # host -> attempts in its journal


class OnDemand(Mapping[str, T]):
    """Read each time it is asked for: all events of a fleet at once would take more memory than the fleet."""

    def __init__(self, idents: Sequence[str], read: Callable[[str], T]) -> None:
        self._idents = dict.fromkeys(idents)
        self._read = read

    def __getitem__(self, ident: str) -> T:
        if ident not in self._idents:
            raise KeyError(ident)
        return self._read(ident)

    def __iter__(self) -> Iterator[str]:
        return iter(self._idents)

    def __len__(self) -> int:
        return len(self._idents)


def _tickets(reader: Reader, ids: Sequence[str]) -> list[Ticket]:
    return reader.tickets_by_id(ids)


async def collect(world: World) -> Evidence:
    store = world.store()
    await store.open()
    execute = world.database.connection.execute
    idents = [str(row[0]) for row in execute("SELECT id FROM ticket ORDER BY id").fetchall()]
    effects = [str(row[0]) for row in execute("SELECT key FROM effect WHERE done_at IS NULL").fetchall()]
    chunks = [idents[start : start + CHUNK] for start in range(0, len(idents), CHUNK)]
    tickets = [ticket for chunk in chunks for ticket in await store.read(partial(_tickets, ids=chunk))]

    def rest(reader: Reader) -> Evidence:
        return Evidence(
            history=world.history.entries,
            rested=world.rested,
            tickets={ticket.id: ticket for ticket in tickets},
            attempts=OnDemand(idents, reader.attempts),
            events=OnDemand(idents, lambda ident: reader.events(f"ticket:{ident}", 0, 100_000)),
            pull_requests={ticket.id: found for ticket in tickets if (found := reader.pull_request_of(ticket.id))},
            projects={one.id: one for one in reader.projects_by_id(["pj_0", "pj_1"])},
            pending_effects=effects,
            capacity={machine.ident: machine.vms for machine in world.machines.values()},
            published=world.forge.published,
            heads=world.forge.heads,
            leftovers={machine.ident: list(machine.disk) for machine in world.machines.values() if machine.disk},
        )

    return rest(Reads(store.prepare(), Tokens(b"")))  # which goes on reading when the loop is gone
