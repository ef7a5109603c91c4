"""No ticket is completed twice (I1), none is lost (I2), whatever the network, the hosts and the control plane do.

One failing seed is played again with SWARM_SIM_SEED=n; SWARM_SIM_SEEDS=n plays more of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from itertools import pairwise

import pytest

from controlplane.domain.epic import roll_up
from controlplane.domain.lease import TIMES
from controlplane.domain.project import CompleteOn
from controlplane.domain.ticket import SATISFIED, TERMINAL, Attempt, AttemptState, Ticket, TicketState, TicketType
from controlplane.domain.transitions import Action, advance
from controlplane.ports import Page, Reader, TicketFilter, Tx
from controlplane.usecases.moves import commit_steps
from tests.integration.sim.world import TENANT, Faults, World

SETTLE_S = 3 * 3600.0
BATCHES = 20
ENOUGH = 10


def seeds() -> list[int]:
    if one := os.environ.get("SWARM_SIM_SEED"):
        return [int(one)]
    return list(range(int(os.environ.get("SWARM_SIM_SEEDS", "200"))))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_tickets_are_completed_once_and_never_lost(batch: int) -> None:
    played = seeds()[batch::BATCHES]
    refused = 0
    for seed in played:
        world = asyncio.run(play(seed))
        refused += world.history.refused
        assert not world.history.problems, replay(seed, world)
    assert refused or len(played) < ENOUGH, "no stale write was ever tried: the faults do not bite"


def replay(seed: int, world: World) -> str:
    tail = "\n".join(world.history.log[-60:])
    return f"seed {seed} (SWARM_SIM_SEED={seed}): {world.history.problems[:5]}\n{tail}"


async def play(seed: int) -> World:
    world = World(seed, hostility(seed), hosts=1 + seed % 5, tickets=4 + seed % 9)
    await world.begin()
    if not await world.run(SETTLE_S, done=lambda: settled(world)):
        world.problem("does not come to rest")
    found = await world.store.read(lambda reader: list(check(reader, world)))
    for problem in found:
        world.problem(problem)
    await world.store.close()
    return world


def hostility(seed: int) -> Faults:
    """Most runs meet everything; some only one kind of fault, much of it."""
    never = 1e9
    kinds = (
        Faults(),
        Faults(loss=0.3, repeat=0.3, delay_s=20.0),
        Faults(host_death_s=40.0, freeze_s=never, disconnect_s=never, restart_s=never),
        Faults(freeze_s=30.0, host_death_s=never),
        Faults(restart_s=60.0, disconnect_s=30.0),
    )
    return kinds[seed % len(kinds)]


async def settled(world: World) -> bool:
    """At rest: nothing can move any more, after pull requests that people merge were merged."""
    await world.store.write(lambda tx: merge_open(tx, world))
    tickets = await world.store.read(everything)
    busy = any(not at_rest(ticket) for ticket in tickets if ticket.spec.type is not TicketType.EPIC)
    due = await world.store.read(lambda reader: reader.due_effects(world.now + 1000, 1))
    return not busy and not due and not any(host.works for host in world.hosts.values())


def at_rest(ticket: Ticket) -> bool:
    return ticket.state in TERMINAL or ticket.state in {TicketState.BLOCKED, TicketState.IN_REVIEW}


def merge_open(tx: Tx, world: World) -> None:
    reviewed, _ = tx.tickets(TENANT, TicketFilter(states=(TicketState.IN_REVIEW,)), Page(1000))
    ready = [one for one in reviewed if one.pull_request_id and one.spec.type is not TicketType.EPIC]
    if ready:
        commit_steps(tx, [advance(ticket, Action.MERGE, world.now) for ticket in ready], world.now)


def everything(reader: Reader) -> list[Ticket]:
    return reader.tickets(TENANT, TicketFilter(), Page(1000))[0]


def check(reader: Reader, world: World) -> Iterator[str]:
    tickets = {ticket.id: ticket for ticket in everything(reader)}
    if tickets.keys() != world.keys.keys():
        yield "tickets are missing"
    for ticket in tickets.values():
        if ticket.spec.type is TicketType.EPIC:
            rolled = roll_up(reader.children(ticket.id))
            if rolled and rolled != (ticket.state, ticket.state_reason):
                yield f"epic is {ticket.state} ({ticket.state_reason}), its children say {rolled}"
            continue
        yield from check_rest(ticket, tickets)
        yield from check_attempts(ticket, reader.attempts(ticket.id), world)
        yield from check_pull_request(ticket, reader, world)
        yield from check_events(ticket, reader)


def check_rest(ticket: Ticket, tickets: dict[str, Ticket]) -> Iterator[str]:
    """I2: it ended, or waits for something that did end badly."""
    if ticket.state in TERMINAL:
        return
    dependencies = [tickets[ident] for ident in ticket.spec.depends_on]
    held = [one for one in dependencies if one.state not in SATISFIED]
    if ticket.state is not TicketState.BLOCKED or not held:
        yield f"{ticket.id} rests {ticket.state} ({ticket.state_reason})"


def check_attempts(ticket: Ticket, attempts: list[Attempt], world: World) -> Iterator[str]:
    """I1: one success, fences that only grow, and nothing accepted under an old one."""
    fences = [attempt.fence for attempt in attempts]
    if fences != sorted(set(fences)) or fences != list(range(1, ticket.fence + 1)):
        yield f"{ticket.id} has attempts with fences {fences} at fence {ticket.fence}"
    won = [attempt for attempt in attempts if attempt.state is AttemptState.SUCCEEDED]
    accepted = world.history.accepted.get(ticket.id, [])
    if len(won) > 1 or len(accepted) > 1 or [attempt.fence for attempt in won] != accepted:
        yield f"{ticket.id}: succeeded {[a.fence for a in won]}, accepted {accepted}"
    if won and won[0].fence != fences[-1]:
        yield f"{ticket.id}: attempts went on after fence {won[0].fence} had succeeded: {fences}"
    if ticket.state is TicketState.COMPLETED and not won:
        yield f"{ticket.id} is completed by no attempt"
    for attempt in attempts:
        if attempt.cause == "host_lost":
            yield from check_expiry(attempt, world)
    live = [attempt.id for attempt in attempts if attempt.state in {AttemptState.ASSIGNED, AttemptState.RUNNING}]
    if live and ticket.state is not TicketState.CANCELLED:
        yield f"{ticket.id} rests {ticket.state} with live attempts {live}"


def check_expiry(attempt: Attempt, world: World) -> Iterator[str]:
    """Nobody lost a lease before TTL and grace were over, nor in the first TTL of a control plane."""
    ended = attempt.finished_at or 0.0
    renewed = world.control.renewals.get(attempt.id, attempt.assigned_at)
    started = max(start for start in world.control.starts if start <= ended)
    if ended < renewed + TIMES.ttl_s + TIMES.grace_s or ended < started + TIMES.ttl_s:
        yield f"lease of {attempt.id} was ended early"


def check_pull_request(ticket: Ticket, reader: Reader, world: World) -> Iterator[str]:
    pull_request = reader.pull_request_of(ticket.id)
    published = world.forge.published.get(ticket.key, [])
    if len(published) > 1:
        yield f"{ticket.id}: heads {published} were published"
    if pull_request is None:
        if ticket.state is TicketState.COMPLETED and ticket.head:
            yield f"{ticket.id} is completed with a head and no pull request"
        return
    if world.forge.heads[pull_request.head] != (ticket.id, ticket.fence) or published != [pull_request.head]:
        yield f"{ticket.id}: pull request of another attempt's head"
    project = reader.project(TENANT, ticket.spec.project_id)
    if project and project.spec.complete_on is CompleteOn.OPENED and ticket.state is TicketState.IN_REVIEW:
        yield f"{ticket.id} stays in review though its project completes on opening"


def check_events(ticket: Ticket, reader: Reader) -> Iterator[str]:
    """The event log tells one gapless story that ends where the ticket is."""
    events = reader.events(f"ticket:{ticket.id}", 0, 1000)
    if [event.seq for event in events] != list(range(1, len(events) + 1)):
        yield f"{ticket.id}: event numbers have gaps"
    moves = [(event.data["from"], event.data["to"]) for event in events if event.type == "ticket.state"]
    if any(before[1] != after[0] for before, after in pairwise(moves)):
        yield f"{ticket.id}: events do not join: {moves}"
    if not moves or moves[-1][1] != ticket.state:
        yield f"{ticket.id}: events end in {moves[-1:]}, the ticket is {ticket.state}"
    if sum(to == TicketState.COMPLETED and came != to for came, to in moves) > 1:
        yield f"{ticket.id} was completed more than once"
