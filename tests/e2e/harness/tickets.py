"""Filing tickets and looking at what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.json_format import ParseDict

from swarm_sdk.client import Client
from swarm_sdk.types import Attempt, CompleteOn, Event, Project, ProjectSpec, Ticket, TicketSpec, TicketState, name_of
from tests.e2e.harness.upstream import Upstream
from tests.e2e.harness.waiting import eventually

PATIENCE_S = 180.0


async def project(client: Client, upstream: Upstream, *, test_command: str = "", done_when: str = "merged") -> Project:
    """A project on a repository."""
    complete_on = CompleteOn.Value(f"COMPLETE_ON_{done_when.upper()}")
    spec = ProjectSpec(
        name=upstream.path.stem, repository=str(upstream.path), test_command=test_command, complete_on=complete_on
    )
    return await client.projects.create(spec)


def shell(script: str, *, title: str = "Run a script", project_id: str = "", **more: Any) -> TicketSpec:
    """A ticket for the shell agent; `more` are further fields of the spec, as JSON."""
    spec = {"title": title, "agent": "shell", "project_id": project_id, "input": {"script": script}} | more
    return ParseDict(spec, TicketSpec())


async def settled(client: Client, ident: str, *, patience_s: float = PATIENCE_S) -> Ticket:
    """The ticket once nothing more happens without a person; a hanging test says where the ticket hangs."""
    try:
        return await client.tickets.wait(ident, timeout_s=patience_s)
    except Exception as error:
        error.add_note(await story(client, ident))
        raise


async def reached(client: Client, ident: str, *states: str, patience_s: float = PATIENCE_S) -> Ticket:
    """The ticket once it is in one of `states`."""
    wanted = {TicketState.Value(f"TICKET_STATE_{state.upper()}") for state in states}
    try:
        return await client.tickets.wait(ident, until=wanted, timeout_s=patience_s)
    except Exception as error:
        error.add_note(await story(client, ident))
        raise


async def vm_of(client: Client, ident: str) -> str:
    """Id of the VM in which the ticket runs, once it runs and its host has reported the VM."""
    vm_id = (await reached(client, ident, "running")).current_attempt.vm_id

    async def reported() -> bool:
        return vm_id in {vm.id for vm in await client.vms.list()}

    await eventually(reported, f"the host reports {vm_id}")
    return vm_id


async def events(client: Client, ident: str, *types: str) -> list[Event]:
    """All events of a ticket."""
    found: list[Event] = []
    while page := await client.tickets.events(ident, cursor=found[-1].seq if found else 0, types=types, limit=1000):
        found.extend(page)
    return found


async def logs(client: Client, ident: str) -> str:
    """What the agents of all attempts said."""
    return "\n".join(str(data(event).get("text", "")) for event in await events(client, ident, "agent.log"))


async def path(client: Client, ident: str) -> list[str]:
    """States of a ticket in the order it had them."""
    return [str(data(event)["to"]) for event in await events(client, ident, "ticket.state")]


async def attempts(client: Client, ident: str) -> list[Attempt]:
    return list(await client.tickets.attempts(ident))


async def story(client: Client, ident: str) -> str:
    """Everything known about a ticket, for messages."""
    lines = [f"{event.seq} {event.type} {dict(data(event))}" for event in await events(client, ident)]
    return "\n".join([str(await client.tickets.get(ident)), *lines[-60:]])


def data(event: Event) -> Mapping[str, Any]:
    """Data of an event as plain values."""
    return dict(event.data)


def states(tickets: Iterable[Ticket]) -> list[str]:
    return [name_of(ticket, "state") for ticket in tickets]
