"""Stores moves of tickets, and in the same commit what follows from them: dependents and epics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from controlplane.domain import dag
from controlplane.domain.epic import matters, roll_up
from controlplane.domain.ticket import LEASED, SATISFIED, TERMINAL, Ticket, TicketState
from controlplane.domain.transitions import Action, Step, advance
from controlplane.errors import Conflict
from controlplane.ports import Reader, Tx
from controlplane.usecases.telling import tell_of_moves

_WAITING: Final = frozenset({TicketState.READY, TicketState.BLOCKED})


def commit_steps(tx: Tx, steps: Sequence[Step], now: float) -> tuple[Step, ...]:
    """Saves steps with their events and effects, then unblocks or blocks dependents and rolls epics up, to the end.

    Answers all that was stored, the given steps first. Conflict, and nothing is stored, when one lost a race.
    """
    stored: list[Step] = []
    pending = list(steps)
    while pending:
        _save(tx, pending, now)
        stored += pending
        moved = [step for step in pending if step.old.state is not step.ticket.state]
        pending = [*_dependents(tx, moved, now), *_epics(tx, moved, now)]
    return tuple(stored)


def blocked_by(reader: Reader, depends_on: Sequence[str]) -> tuple[str, ...]:
    """Keys of the dependencies that are not satisfied: the fact that RELEASE and RETRY want."""
    return tuple(key for key, _ in dag.unsatisfied(depends_on, _by_id(reader, depends_on)))


def _save(tx: Tx, steps: Sequence[Step], now: float) -> None:
    lost = tx.save_tickets([(step.old, step.ticket) for step in steps])
    if lost:
        keys = sorted(step.ticket.key for step in steps if step.ticket.id in set(lost))
        raise Conflict(f"{', '.join(keys)} changed meanwhile; try again", reason="concurrent_change")
    if events := [event for step in steps for event in step.events]:
        tx.add_events(events, now)
    if effects := [effect for step in steps for effect in step.effects]:
        tx.add_effects(effects, now)
    tell_of_moves(tx, [(step.old, step.ticket) for step in steps], now)


def _dependents(tx: Tx, moved: Iterable[Step], now: float) -> list[Step]:
    moved = list(moved)
    changed = [step.ticket.id for step in moved if _weight(step.old) != _weight(step.ticket)]
    waiting = [ticket for ticket in tx.dependents(changed) if ticket.state in _WAITING] if changed else []
    # What goes back into the queue may have lost a dependency while it ran.
    known = {ticket.id for ticket in waiting}
    waiting += [step.ticket for step in moved if _requeued(step) and step.ticket.id not in known]
    dependencies = _by_id(tx, [ident for ticket in waiting for ident in ticket.spec.depends_on])
    steps = []
    for ticket in waiting:
        if found := dag.reconsider(ticket, dependencies):
            action, reason = found
            steps.append(advance(ticket, action, now, reason=reason))
    return steps


def _requeued(step: Step) -> bool:
    return step.old.state in LEASED and step.ticket.state is TicketState.READY


def _weight(ticket: Ticket) -> str:
    """What a dependent makes of it: satisfied, hopeless for a reason, or still to come."""
    if ticket.state in SATISFIED:
        return "satisfied"
    return ticket.state if ticket.state in TERMINAL else ""


def _epics(tx: Tx, moved: Iterable[Step], now: float) -> list[Step]:
    told = (step.ticket for step in moved if matters(step.old.state, step.ticket.state))
    return rolled_up(tx, sorted({child.spec.parent_id for child in told} - {""}), now)


def rolled_up(tx: Tx, parents: Sequence[str], now: float) -> list[Step]:
    """The moves of epics whose state is no longer what their children's add up to."""
    steps = []
    for epic in tx.tickets_by_id(parents) if parents else ():
        rolled = roll_up(tx.child_states(epic.id))
        if rolled is not None and rolled != (epic.state, epic.state_reason):
            state, reason = rolled
            steps.append(advance(epic, Action.ROLL_UP, now, to=state, reason=reason))
    return steps


def _by_id(reader: Reader, ids: Sequence[str]) -> dict[str, Ticket]:
    return {ticket.id: ticket for ticket in reader.tickets_by_id(list(dict.fromkeys(ids)))} if ids else {}
