"""What must hold of a run at rest, from what clients saw, what was stored, and what the forge has.

Each answers what is wrong, one sentence per fault; nothing when all is well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tests.e2e.harness.history import History
from tests.e2e.harness.ledger import EventRow, Ledger, TicketRow

ENDED = frozenset({"completed", "failed", "cancelled"})
MAX_FAULTS = 4  # one try and three more; hosts' faults and a ticket's own are counted apart
Branches = Mapping[str, Mapping[str, str]]  # project id -> branch -> commit


def check(history: History, ledger: Ledger, branches: Branches) -> list[str]:
    """Everything below."""
    return [
        *stored_well(ledger),
        *none_lost(history, ledger),
        *completed_once(ledger),
        *fences_grow(ledger),
        *one_at_a_time(ledger),
        *no_stale_write(ledger),
        *numbered_without_gaps(ledger),
        *seen_as_stored(history, ledger),
        *one_pull_request(ledger, branches),
    ]


def stored_well(ledger: Ledger) -> list[str]:
    """The file is sound, and nothing waits to be delivered."""
    return [*ledger.faults, *(f"effect {key} was never delivered" for key in ledger.undelivered)]


def none_lost(history: History, ledger: Ledger) -> list[str]:
    """What was accepted is there, once, and has ended or waits for a person (I2)."""
    accepted = Counter(op.subject for op in history.of("accepted"))
    stored = {ticket.id: ticket for ticket in ledger.tickets}
    problems = [f"{ident} was accepted and is not stored" for ident in accepted if ident not in stored]
    problems += [f"{ident} was accepted {count} times" for ident, count in accepted.items() if count > 1]
    problems += [f"{stored[ident].key} was stored and nobody asked for it" for ident in stored if ident not in accepted]
    problems += [f"{op.subject} is shown as {op.data['state']}, stored as {stored[op.subject].state}"
                 for op in history.of("listed")
                 if op.subject in stored and stored[op.subject].state != op.data["state"]]  # fmt: skip
    return problems + [problem for ticket in ledger.tickets for problem in _at_rest(ticket)]


def _at_rest(ticket: TicketRow) -> Iterable[str]:
    if ticket.state == "in_review" and not ticket.pull_request_id:
        yield f"{ticket.key} is in review without a pull request"
    elif ticket.state not in ENDED | {"in_review"}:
        yield f"{ticket.key} is at rest in state {ticket.state}"
    elif ticket.state == "failed" and not (ticket.dead_letter and len(ticket.causes) >= MAX_FAULTS):
        yield f"{ticket.key} failed before its tries were used up: {', '.join(ticket.causes)}"


def completed_once(ledger: Ledger) -> list[str]:
    """At most one attempt succeeded, and it was the last (I1)."""
    problems: list[str] = []
    attempts = ledger.attempts_of()
    for ticket in ledger.tickets:
        won = [attempt for attempt in attempts[ticket.id] if attempt.state == "succeeded"]
        wanted = int(ticket.state in {"completed", "in_review"})
        if len(won) != wanted:
            problems.append(f"{ticket.key} is {ticket.state} with {len(won)} attempts that succeeded")
        elif won and (won[0].fence, won[0].head) != (ticket.fence, ticket.head):
            problems.append(f"{ticket.key} has the result of attempt {won[0].number}, which was not its last")
    return problems


def fences_grow(ledger: Ledger) -> list[str]:
    """Attempts are numbered 1, 2, ... and each has a higher fence; the ticket has the highest (I1)."""
    problems: list[str] = []
    attempts = ledger.attempts_of()
    for ticket in ledger.tickets:
        mine = attempts[ticket.id]
        fences = [attempt.fence for attempt in mine]
        if any(later <= earlier for earlier, later in pairwise(fences)):
            problems.append(f"the fences of {ticket.key} do not grow: {fences}")
        if [attempt.number for attempt in mine] != list(range(1, ticket.attempts + 1)):
            problems.append(f"{ticket.key} counts {ticket.attempts} attempts and has {[each.number for each in mine]}")
        if ticket.state not in {"cancelled", "failed"} and fences and fences[-1] != ticket.fence:
            problems.append(f"{ticket.key} has fence {ticket.fence}, its last attempt {fences[-1]}")
    return problems


def one_at_a_time(ledger: Ledger) -> list[str]:
    """An attempt is over before the next begins; at rest none is open."""
    problems: list[str] = []
    for attempts in ledger.attempts_of().values():
        problems += [f"attempt {each.id} is still {each.state}" for each in attempts if each.finished_at is None]
        problems += [
            f"attempt {later.id} began before {earlier.id} was over"
            for earlier, later in pairwise(attempts)
            if earlier.finished_at is not None and later.assigned_at < earlier.finished_at
        ]
    return problems


def no_stale_write(ledger: Ledger) -> list[str]:
    """Between the assignment of an attempt and its end, and only then, its host wrote about the ticket (I1)."""
    problems: list[str] = []
    for topic, events in ledger.events_of().items():
        if topic.startswith("ticket:"):
            problems += _stale(topic, events)
    return problems


def _stale(topic: str, events: Sequence[EventRow]) -> Iterable[str]:
    current = ""
    for event in events:
        if event.type == "ticket.state":
            current = str(event.data["attempt"]) if event.data["to"] in {"assigned", "running", "waiting"} else ""
        elif (by := str(event.data.get("attempt", current))) != current:
            yield f"{topic} event {event.seq} ({event.type}) was written by {by} while {current or 'nobody'} had it"


def numbered_without_gaps(ledger: Ledger) -> list[str]:
    """Events of a topic are numbered 1, 2, ... (I21)."""
    return [
        f"events of {topic} have gaps or repetitions: {[event.seq for event in events][:20]}"
        for topic, events in ledger.events_of().items()
        if [event.seq for event in events] != list(range(1, len(events) + 1))
    ]


def seen_as_stored(history: History, ledger: Ledger) -> list[str]:
    """A client that watched with a cursor saw what is stored: no gap, no repetition, no other order (I21)."""
    seen: dict[str, list[Any]] = {}
    for op in history.of("seen"):
        seen.setdefault(op.subject, []).append((op.data["seq"], op.data["type"]))
    events = ledger.events_of()
    problems: list[str] = []
    for ident, got in seen.items():
        stored = [(event.seq, event.type) for event in events.get(f"ticket:{ident}", [])]
        if got != stored:
            problems.append(f"who watched {ident} saw {len(got)} events ({got[-3:]}), stored are {len(stored)}")
    return problems


def one_pull_request(ledger: Ledger, branches: Branches) -> list[str]:
    """A ticket with a result has one pull request and one `.../pr` branch with it; nobody else has any (I1, I7)."""
    pulls = Counter(pull.ticket_id for pull in ledger.pulls)
    problems = [f"{ident} has {count} pull requests" for ident, count in pulls.items() if count > 1]
    expected: dict[str, dict[str, str]] = {project: {} for project in branches}
    for ticket in ledger.tickets:
        wanted = int(bool(ticket.head and ticket.project_id) and ticket.state in {"in_review", "completed"})
        if pulls[ticket.id] != wanted:
            problems.append(f"{ticket.key} is {ticket.state} with {pulls[ticket.id]} pull requests")
        if wanted and ticket.project_id in expected:
            expected[ticket.project_id][f"swarm/{ticket.key}/pr"] = ticket.head
    for project, found in branches.items():
        published = {name: head for name, head in found.items() if name.endswith("/pr")}
        problems += _differences(project, expected[project], published)
    return problems


def _differences(project: str, expected: Mapping[str, str], found: Mapping[str, str]) -> Iterable[str]:
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            yield f"{project}: {name} is {found.get(name, 'missing')}, expected {expected.get(name, 'nothing')}"


def resumed_in_time(ledger: Ledger, host_id: str, died: float, *, within_s: float) -> list[str]:
    """What ran on a host when it died for good was taken back `within_s` seconds, and has its next attempt (I3).

    `died` is in epoch seconds. By the times that the control plane stored, which no load of the machine that runs the
    test can stretch unless it stretches the control plane's own.
    """
    problems: list[str] = []
    for attempts in ledger.attempts_of().values():
        for number, attempt in enumerate(attempts):
            if attempt.host_id != host_id or (attempt.finished_at or died) < died:
                continue
            after = attempts[number + 1 :]
            if attempt.state != "lost" or attempt.finished_at is None or not after:
                problems.append(f"attempt {attempt.id} of the dead host is {attempt.state} with {len(after)} after it")
            elif attempt.finished_at > died + within_s:
                problems.append(f"attempt {attempt.id} was taken back {attempt.finished_at - died:.1f} s after")
            elif after[0].number != attempt.number + 1:
                problems.append(f"attempt {attempt.id} is followed by number {after[0].number}")
    return problems


def placed_after(ledger: Ledger, host_id: str, moment: float) -> list[str]:
    """Attempts that a host was given after a moment (epoch seconds) from which it was to be given none (I15)."""
    return [
        f"{each.id} was placed {each.assigned_at - moment:.2f} s after"
        for each in ledger.attempts
        if each.host_id == host_id and each.assigned_at > moment
    ]
