"""Failed attempts through the real link: what is recorded, counted and shown, and the way back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from controlplane.usecases import placement
from swarm.guest.v1 import guest_pb2
from swarm_sdk import Client, InvalidArgumentError, Ticket, TicketSpec, name_of
from swarm_sdk.types import FailureCount
from tests.fakes import host as fake
from tests.fakes.control import Control, control_plane, eventually
from tests.fakes.host import FakeHost


@pytest.fixture
async def control(home: Path) -> AsyncIterator[Control]:
    async with control_plane(home, retry_delays=(0.0,)) as running:
        yield running


async def file(client: Client, title: str = "work") -> Ticket:
    return await client.tickets.create(TicketSpec(title=title, agent="echo"))


async def end(host: FakeHost, number: int, cause: str = "", outcome: guest_pb2.Outcome | None = None) -> None:
    """Ends the so-manieth attempt that the host got: by a cause that it names, or by its guest's own words."""
    ref = (await host.assignment(number)).attempt
    said = None if outcome is None else outcome.SerializeToString()
    await host.deliver(fake.started(ref), fake.finished(ref, head="", outcome=said, cause=cause))
    host.attempts.remove(ref)


def counted(counts: Sequence[FailureCount]) -> dict[str, int]:
    return {each.name: each.count for each in counts}


async def test_every_attempt_and_its_cause_are_kept_and_explained(client: Client, host: FakeHost) -> None:
    ticket = await file(client)
    refused = guest_pb2.Outcome(status="failed", exit_code=1, summary="a key", phase="push", cause="checks_refused")
    await end(host, 1, "vm_lost")
    await end(host, 2, outcome=refused)
    await end(host, 3, "upstream_down")
    await host.run(await host.assignment(4), head="")
    done = await client.tickets.wait(ticket.id, timeout_s=10)
    attempts = await client.tickets.attempts(ticket.id)
    assert (name_of(done, "state"), list(done.causes)) == ("completed", ["vm_lost", "checks_refused", "upstream_down"])
    assert [(each.cause, each.fault, name_of(each, "state")) for each in attempts] == [
        ("vm_lost", "host", "lost"),
        ("checks_refused", "ticket", "failed"),
        ("upstream_down", "upstream", "failed"),
        ("", "", "succeeded"),
    ]
    assert [each.HasField("retry_delay") for each in attempts] == [True, True, True, False]
    assert "secret" in attempts[1].explanation
    assert attempts[1].reason == "a key"
    assert attempts[3].explanation == ""


async def test_dead_letters_are_listed_counted_and_requeued(client: Client, host: FakeHost) -> None:
    poison, parked, good = await file(client, "poison"), await file(client, "parked"), await file(client, "good")
    ends = {poison.id: ["timeout"] * 4, parked.id: ["budget"], good.id: []}
    for number in range(1, 7):
        ref = (await host.assignment(number)).attempt
        if causes := ends[ref.ticket_id]:
            await end(host, number, causes.pop(0))
        else:
            await host.run(await host.assignment(number), head="")
    dead = await client.tickets.list(dead_letter=True)
    assert [(each.id, list(each.causes)) for each in dead] == [(poison.id, ["timeout"] * 4)]
    assert name_of(await client.tickets.get(parked.id), "state") == "failed"
    assert name_of(await client.tickets.get(good.id), "state") == "completed"
    found = await client.coordinator.failures(window_s=3600)
    assert (found.attempts, found.failed, found.dead_letters) == (6, 5, 1)
    assert counted(found.by_cause) == {"timeout": 4, "budget": 1}
    assert [each.name for each in found.by_cause] == ["timeout", "budget"]
    assert found.by_cause[0].explanation
    assert counted(found.by_fault) == {"ticket": 4, "nobody": 1}
    assert counted(found.by_host) == {"local": 5}
    assert counted(found.by_agent) == {"echo": 5}
    again = [ticket async for ticket in client.tickets.requeue([each.key for each in dead])]
    assert [list(each.causes) for each in again] == [[]]
    await host.run(await host.assignment(7), head="")
    assert name_of(await client.tickets.wait(poison.id, timeout_s=10), "state") == "completed"
    assert [each.number for each in await client.tickets.attempts(poison.id)] == [1, 2, 3, 4, 5]
    assert (await client.coordinator.failures()).dead_letters == 0


async def test_a_host_cannot_send_a_ticket_round_for_ever(client: Client, host: FakeHost) -> None:
    """Whatever it says, and as often as it likes: every count ends."""
    ticket = await file(client)
    for number in range(1, 31):
        await end(host, number, "host_stopping")
    assert (await client.tickets.get(ticket.id)).dead_letter


async def test_failures_are_metrics(control: Control, client: Client, host: FakeHost) -> None:
    from controlplane.metrics import REGISTRY  # noqa: PLC0415  # of this process, as the control plane is

    async def value() -> float:
        return REGISTRY.get_sample_value("swarm_attempt_failures_total", {"cause": "disk_full"}) or 0.0

    before = await value()
    await file(client)
    await end(host, 1, outcome=guest_pb2.Outcome(status="failed", phase="tests", cause="disk_full"))
    await eventually(value, before + 1)


@pytest.mark.parametrize("window", [0, -5, 10**9])
async def test_a_window_that_is_none_is_refused(client: Client, window: int) -> None:
    with pytest.raises(InvalidArgumentError):
        await client.coordinator.failures(window_s=window)


async def test_stall_limits_reach_the_host_from_ticket_and_project(client: Client, host: FakeHost) -> None:
    """Unset and zero are different wishes."""
    own, off, none = TicketSpec(title="own"), TicketSpec(title="off"), TicketSpec(title="none")
    own.stall_timeout.FromSeconds(90)
    off.stall_timeout.FromSeconds(0)
    for number, (spec, wanted) in enumerate(((own, 90), (off, 0), (none, None)), 1):
        made = await client.tickets.create(spec)
        assert made.spec.HasField("stall_timeout") is (wanted is not None)
        got = await host.assignment(number)
        assert (got.stall_after_s if got.HasField("stall_after_s") else None) == wanted
        await host.run(got, head="")


@pytest.mark.parametrize(("limit", "most"), [("MAX_EVENTS", 50), ("MAX_EVENT_BYTES", 4000)])
async def test_a_host_that_sends_events_without_end_fills_nothing(
    client: Client, host: FakeHost, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(placement, limit, most)
    ticket = await file(client)
    assignment = await host.assignment()
    ref = assignment.attempt
    await host.deliver(fake.started(ref), fake.running(ref))
    for _ in range(4):
        await host.deliver(fake.logged(ref, *(f"line {number}" for number in range(30))))
    await host.deliver(fake.asked(ref, "still there?"))
    kept = await client.tickets.events(ticket.id)
    assert 40 < len(kept) < 70
    assert [event.type for event in kept].count("agent.log_capped") == 1
    assert name_of(await client.tickets.get(ticket.id), "state") == "waiting"
