from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from controlplane.domain.call import Call
from controlplane.domain.event import NewEvent
from controlplane.domain.live import AgentState
from controlplane.domain.ticket import Ticket, TicketState, TicketType
from controlplane.domain.vm import VmState
from controlplane.errors import FailedPrecondition, NotFound
from controlplane.ports import CommandUpdate, Page, Store, Tx
from controlplane.usecases import live
from controlplane.usecases.services import Services
from tests.fakes.fleet import FakeFleet
from tests.fakes.seeds import NOW, a_call, a_host, a_ticket, a_vm, an_attempt

S = TicketState


async def leased(store: Store, number: int, state: TicketState = S.RUNNING, vm: str = "", **fields: object) -> Ticket:
    ticket = a_ticket(number, state, fence=2, host_id="hs_1", agent="echo", **fields)
    ticket = replace(ticket, attempt_id=an_attempt(ticket).id)

    def add(tx: Tx) -> None:
        tx.add_tickets([ticket])
        tx.add_attempts([an_attempt(ticket, vm_id=vm)])

    await store.write(add)
    return ticket


async def say(store: Store, ticket: Ticket, kind: str, text: str, attempt: str = "") -> None:
    data = {"attempt": attempt or ticket.attempt_id, "text": text}
    await store.write(lambda tx: tx.add_events([NewEvent(f"ticket:{ticket.id}", kind, data)], NOW + 5))


async def test_what_runs_is_listed_with_what_it_says(store: Store, call: Call) -> None:
    await store.write(lambda tx: tx.save_host(a_host()))
    await store.write(lambda tx: tx.save_vms([a_vm(1, state=VmState.PAUSED)]))
    first = await leased(store, 1)
    await say(store, first, "agent.progress", "half way")
    await leased(store, 2, S.ASSIGNED)
    await leased(store, 3, S.WAITING)
    await leased(store, 4, vm="vm_1")
    await store.write(lambda tx: tx.add_tickets([a_ticket(5), a_ticket(6, S.RUNNING, type=TicketType.EPIC)]))
    await leased(store, 7, tenant_id="other")
    found, token = await store.read(lambda reader: live.list_live(reader, call, "", Page()))
    states = [AgentState.RUNNING, AgentState.STARTING, AgentState.WAITING, AgentState.PAUSED]
    assert [agent.state for agent in found] == states
    assert token == ""
    one = found[0]
    assert (one.agent, one.host_name, one.progress, one.last_activity_at) == ("echo", "host-1", "half way", NOW + 5)


async def test_it_is_found_by_ticket_or_attempt_in_its_tenant_only(store: Store, call: Call) -> None:
    ticket = await leased(store, 1)
    for ident in ("TKT-001", "tk_1", ticket.attempt_id):
        assert (await store.read(lambda reader, ident=ident: live.get_live(reader, call, ident))).ticket == ticket  # type: ignore[misc]
        with pytest.raises(NotFound):
            await store.read(lambda reader, ident=ident: live.get_live(reader, a_call(tenant="other"), ident))  # type: ignore[misc]
    await store.write(lambda tx: tx.save_tickets([(ticket, replace(ticket, state=S.FAILED, host_id=""))]))
    with pytest.raises(NotFound, match="has ended"):
        await store.read(lambda reader: live.get_live(reader, call, "TKT-001"))


async def test_its_last_lines_are_its_own(store: Store, call: Call) -> None:
    ticket = await leased(store, 1)
    for number in range(30):
        await say(store, ticket, "agent.log", f"line {number}")
    await say(store, ticket, "agent.log", "of another", attempt="at_0")
    await say(store, ticket, "agent.progress", "no log")

    async def lines(tail: int) -> list[str]:
        found = await store.read(lambda reader: live.logs(reader, call, "TKT-001", tail))
        return [event.data["text"] for event in found]

    assert await lines(2) == ["line 28", "line 29"]
    assert len(await lines(0)) == 20


async def test_its_vm_is_acted_on(store: Store, services: Services, fleet: FakeFleet, call: Call) -> None:
    fleet.hosts.add("hs_1")
    await store.write(lambda tx: tx.save_vms([a_vm(1)]))
    fleet.answers["vm"] = [CommandUpdate(1.0, "", done=True, vms=(a_vm(1, state=VmState.PAUSED),))]
    await leased(store, 1, vm="vm_1")
    assert (await live.pause(services, call, "TKT-001")).state is AgentState.PAUSED
    await live.resume(services, call, "TKT-001")
    await live.terminate(services, call, "TKT-001")
    verbs = [arguments["verb"] for _, _, arguments in fleet.calls]
    assert verbs == ["pause", "resume", "terminate"]
    await leased(store, 2, S.ASSIGNED)
    with pytest.raises(FailedPrecondition, match="has no VM yet"):
        await live.pause(services, call, "TKT-002")


async def test_a_watcher_is_told_of_all_then_of_changes(
    store: Store, services: Services, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PACE_S", 0.0)
    first = await leased(store, 1)
    async with aclosing(live.watch(services, call, "")) as changes, asyncio.timeout(60):  # type: ignore[type-var]
        agents, ended = await anext(changes)
        assert ([agent.ticket.id for agent in agents], list(ended)) == (["tk_1"], [])
        second = await leased(store, 2)
        await say(store, second, "agent.progress", "on it")
        agents, ended = await anext(changes)
        assert [(agent.ticket.id, agent.progress) for agent in agents] == [("tk_2", "on it")]
        await store.write(lambda tx: tx.save_tickets([(first, replace(first, state=S.FAILED, host_id=""))]))
        await say(store, first, "ticket.state", "")
        agents, ended = await anext(changes)
        assert (list(agents), list(ended)) == ([], [first.attempt_id])
