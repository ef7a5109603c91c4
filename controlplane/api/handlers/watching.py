"""The streams of TicketService and VmService that follow more than one ticket, and one VM."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from controlplane.api.bindings import Bindings, Stream
from controlplane.api.convert.ticket import event_out, ticket_out
from controlplane.api.convert.vm import vm_out
from controlplane.domain.call import Call
from controlplane.usecases import tickets
from controlplane.usecases.services import Services
from controlplane.usecases.watching import watch_tickets, watch_vm
from swarm.ticket.v1 import service_pb2 as ticket_pb
from swarm.vm.v1 import service_pb2 as vm_pb


def bindings() -> Bindings:
    return {
        "swarm.ticket.v1.TicketService.WatchTickets": Stream(all_tickets),
        "swarm.vm.v1.VmService.WatchVm": Stream(one_vm),
    }


async def all_tickets(
    services: Services, call: Call, request: ticket_pb.WatchTicketsRequest
) -> AsyncGenerator[ticket_pb.WatchTicketsResponse, None]:
    cursor = request.cursor if request.HasField("cursor") else None
    async for news in watch_tickets(services, call, request.tenant_id, cursor):
        found = news.tickets
        current = await services.store.read(lambda reader, found=found: tickets.current_attempts(reader, found))  # type: ignore[misc]
        yield ticket_pb.WatchTicketsResponse(
            events=map(event_out, news.events),
            tickets=[ticket_out(each, current) for each in found],
            cursor=news.cursor,
        )


async def one_vm(
    services: Services, call: Call, request: vm_pb.WatchVmRequest
) -> AsyncGenerator[vm_pb.WatchVmResponse, None]:
    async for vm in watch_vm(services, call, request.id):
        yield vm_pb.WatchVmResponse(vm=vm_out(vm))
