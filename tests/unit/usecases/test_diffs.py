from __future__ import annotations

from controlplane.domain.call import Call
from controlplane.domain.ticket import AttemptState, TicketState
from controlplane.ports import Store, Tx
from controlplane.usecases.diffs import Diff, ticket_diff
from controlplane.usecases.services import Services
from tests.fakes.fleet import FakeForge
from tests.fakes.seeds import a_project, a_pull_request, a_ticket, an_attempt


async def test_a_ticket_shows_what_was_accepted_last(
    store: Store, services: Services, forge: FakeForge, call: Call
) -> None:
    ticket = a_ticket(1, TicketState.IN_REVIEW, project_id="pj_1", fence=1)

    def add(tx: Tx) -> None:
        tx.add_project(a_project())
        tx.add_tickets([ticket])

    await store.write(add)
    assert await ticket_diff(services, call, "TKT-001") == Diff()
    ended = an_attempt(ticket, state=AttemptState.SUCCEEDED, base="b" * 40, head="c" * 40)
    lost = an_attempt(ticket, id="at_2", fence=2, state=AttemptState.LOST, base="b" * 40, head="e" * 40)
    await store.write(lambda tx: tx.add_attempts([ended, lost]))
    forge.patch = b"+line" * 300_000
    shown = await ticket_diff(services, call, "TKT-001")
    assert (shown.base, shown.head, len(shown.patch), shown.truncated) == ("b" * 40, "c" * 40, 1 << 20, True)
    assert [file.path for file in shown.files] == ["a.txt"]
    await store.write(lambda tx: tx.add_pull_request(a_pull_request(ticket, 7)))
    assert (await ticket_diff(services, call, "TKT-001")).head == "7" * 40
