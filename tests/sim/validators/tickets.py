"""Tickets: nothing is lost, nothing happens twice, and everything that is told of them fits together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from controlplane.domain.failure import Fault, Strategy, cause_of
from controlplane.domain.project import CompleteOn
from controlplane.domain.pullrequest import PullRequestState
from controlplane.domain.retry import LIMITS
from controlplane.domain.ticket import SATISFIED, TERMINAL, Attempt, AttemptState, Ticket, TicketState, TicketType
from tests.sim.evidence import Evidence
from tests.sim.validators.timeline import LEASED, Timeline

DONE = frozenset({"in_review", "completed"})
FIRST_RESTORED = (1 << 20) + 1


def single_completion(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I1: at most one attempt is accepted, unless a person had the ticket done again, and one completes it."""
    for ident, moves in line.moves.items():
        if (ticket := evidence.tickets.get(ident)) is None or ticket.spec.type is TicketType.EPIC:
            continue  # a lost one is the matter of others
        accepted = 0
        for move in moves:
            if move["from"] in {"failed", "cancelled"}:
                accepted = 0
            if move["from"] in LEASED and move["to"] in DONE:
                accepted += 1
            if accepted > 1:
                yield f"{ident}: fence {move['fence']} was accepted after another"
        if sum(move["to"] == "completed" != move["from"] for move in moves) > 1:
            yield f"{ident}: completed more than once"


def fences(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I1: each lease has a fence of its own, one above the last or the first of a restored epoch."""
    given: dict[str, list[int]] = {}
    for lease in line.leases:
        given.setdefault(lease.ticket, []).append(lease.fence)
    for ident, ticket in evidence.tickets.items():
        leased, stored = given.get(ident, []), [attempt.fence for attempt in evidence.attempts.get(ident, ())]
        joined = all(after in {before + 1, FIRST_RESTORED} for before, after in pairwise([0, *leased]))
        if leased != stored or not joined or ticket.fence != (leased or [0])[-1]:
            yield f"{ident}: fence {ticket.fence}, leases {leased}, attempts {stored}"


def no_zombie(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I1: what was accepted is what the host said that held the lease, under its fence."""
    said: dict[tuple[str, str, int], float] = {}
    for entry in line.of("host.say"):
        if entry["what"] == "finished" and entry["ok"]:
            said.setdefault((entry["host"], entry["ticket"], entry["fence"]), entry["t"])
    for lease in line.leases:
        if lease.to in DONE and said.get((lease.host, lease.ticket, lease.fence), lease.end + 1) > lease.end:
            yield f"{lease.ticket}: accepted fence {lease.fence}, of which {lease.host} had said nothing"
    for ident, attempts in evidence.attempts.items():
        for attempt in attempts:
            if attempt.state is AttemptState.SUCCEEDED and not _won(line, ident, attempt):
                yield f"{ident}: fence {attempt.fence} succeeded when it was not its turn"


def _won(line: Timeline, ident: str, attempt: Attempt) -> bool:
    return any(move["fence"] == attempt.fence and move["to"] in DONE for move in line.moves.get(ident, ()))


def none_lost(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I2: what was filed is there, and has ended or waits for something that ended badly."""
    if not evidence.rested:
        yield "the fleet did not come to rest"
    for entry in line.of("client.created"):
        for ident in entry["tickets"]:
            if ident not in evidence.tickets:
                yield f"{ident}: was confirmed under {entry['key']} and is gone"
    for ident, ticket in evidence.tickets.items():
        if ticket.spec.type is not TicketType.EPIC and not _at_rest(evidence, ticket):
            yield f"{ident}: rests {ticket.state} ({ticket.state_reason})"
    for host, left in evidence.leftovers.items():
        yield f"{host}: still keeps {left}"


def _at_rest(evidence: Evidence, ticket: Ticket) -> bool:
    if ticket.state in TERMINAL or ticket.state is TicketState.IN_REVIEW:
        return True
    needs = [evidence.tickets[ident].state for ident in ticket.spec.depends_on]
    return ticket.state is TicketState.BLOCKED and any(state not in SATISFIED for state in needs)


def attempts_end(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """At rest no attempt is under way."""
    for ident, attempts in evidence.attempts.items():
        live = [one.fence for one in attempts if one.state in {AttemptState.ASSIGNED, AttemptState.RUNNING}]
        if live and evidence.rested:
            yield f"{ident}: fences {live} never ended"


def effects(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I7: the outbox empties; one branch and one pull request for each ticket, of the attempt that was accepted."""
    if evidence.rested and evidence.pending_effects:
        yield f"the outbox still holds {list(evidence.pending_effects)}"
    for ident, ticket in evidence.tickets.items():
        heads = evidence.published.get(ticket.key, ())
        if len(set(heads)) != len(heads):
            yield f"{ident}: the same head was published twice: {list(heads)}"
        pushed = [evidence.heads[head] for head in heads]
        if any(owner != ident for owner, _ in pushed) or [f for _, f in pushed] != sorted(f for _, f in pushed):
            yield f"{ident}: its branch went to {pushed}"
        yield from _pull_request(evidence, ticket, list(heads))


def _pull_request(evidence: Evidence, ticket: Ticket, heads: list[str]) -> Iterator[str]:
    found = evidence.pull_requests.get(ticket.id)
    done = ticket.state in {TicketState.COMPLETED, TicketState.IN_REVIEW}
    won = [one for one in evidence.attempts.get(ticket.id, ()) if one.state is AttemptState.SUCCEEDED and one.head]
    current = [one for one in won if one.fence == ticket.fence]
    if done and current and (found is None or found.head != current[0].head):
        yield f"{ticket.id}: is {ticket.state} without a pull request of fence {ticket.fence}"
    if found is not None and (found.head not in heads or found.head not in {one.head for one in won}):
        yield f"{ticket.id}: its pull request shows {found.head}, which nobody published"
    project = evidence.projects.get(ticket.spec.project_id)
    opened = project is not None and project.spec.complete_on is CompleteOn.OPENED
    if ticket.state is TicketState.IN_REVIEW and opened and found and found.state is PullRequestState.OPEN:
        yield f"{ticket.id}: stays in review though its project completes on opening"


def poison(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I17: a ticket fails by its own causes, host faults counted apart; what always fails stops and is never done."""
    for ident, ticket in evidence.tickets.items():
        if ticket.spec.type is TicketType.EPIC:
            continue
        if ticket.spec.title.startswith("poison") and ticket.state in SATISFIED:
            yield f"{ident}: cannot be done and is {ticket.state}"
        causes = [cause_of(cause) for cause in ticket.causes]
        kinds = Counter(cause.fault for cause in causes)
        if any(kinds[fault] > LIMITS[fault] for fault in Fault):
            yield f"{ident}: was tried on after {list(ticket.causes)}"
        closed = "closed unmerged" in ticket.state_reason
        if ticket.state is TicketState.FAILED and not closed:
            enough = any(kinds[fault] == LIMITS[fault] for fault in Fault)
            if not ticket.dead_letter or not (enough or any(cause.strategy is Strategy.NEVER for cause in causes)):
                yield f"{ident}: failed after {list(ticket.causes)}"


def events(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I21: a gapless story of each ticket that ends where the ticket is."""
    for ident, found in evidence.events.items():
        if evidence.restored is None and [event.seq for event in found] != list(range(1, len(found) + 1)):
            yield f"{ident}: the numbers of its events have gaps"
        moves = [(event.data["from"], event.data["to"]) for event in found if event.type == "ticket.state"]
        if any(before[1] != after[0] for before, after in pairwise(moves)):
            yield f"{ident}: its events do not join: {moves}"
        if moves and moves[-1][1] != evidence.tickets[ident].state:
            yield f"{ident}: its events end in {moves[-1][1]}, it is {evidence.tickets[ident].state}"


def epics(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """An epic is completed exactly when all children that count are, and failed only when one of them is."""
    family: dict[str, list[TicketState]] = {}
    for ticket in evidence.tickets.values():
        family.setdefault(ticket.spec.parent_id, []).append(ticket.state)
    for ident, epic in evidence.tickets.items():
        if epic.spec.type is not TicketType.EPIC:
            continue
        children = family.get(ident, [])
        live = [state for state in children if state is not TicketState.CANCELLED]
        if children and not live:
            expected = epic.state is TicketState.CANCELLED
        elif all(state is TicketState.COMPLETED for state in live):
            expected = epic.state is TicketState.COMPLETED or not children
        else:
            failed = TicketState.FAILED in live
            expected = epic.state is not TicketState.COMPLETED and (epic.state is TicketState.FAILED) == failed
        if evidence.rested and not expected:
            yield f"{ident}: the epic is {epic.state}, its children are {dict(Counter(children))}"


CHECKS = (
    single_completion,
    fences,
    no_zombie,
    none_lost,
    attempts_end,
    effects,
    poison,
    events,
    epics,
)
