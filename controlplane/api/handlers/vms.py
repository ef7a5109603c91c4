"""VmService."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from controlplane.api.bindings import Action, Bindings, Query, Stream
from controlplane.api.convert.common import page_in, timestamp, whole_seconds
from controlplane.api.convert.vm import sample_out, vm_out
from controlplane.api.handlers.coordinator import Runtime
from controlplane.domain.call import Call
from controlplane.domain.vm import Vm, VmState
from controlplane.domain.vm import shown as shown_vm
from controlplane.errors import FailedPrecondition
from controlplane.ports import Reader
from controlplane.usecases import vms
from controlplane.usecases.services import Services
from swarm.vm.v1 import service_pb2 as pb
from swarm.vm.v1 import vm_pb2

SERVICE = "swarm.vm.v1.VmService"


def bindings(runtime: Runtime) -> Bindings:
    def shown(vm: Vm) -> vm_pb2.Vm:
        return vm_out(shown_vm(vm, runtime.connected()))

    def list_vms(reader: Reader, call: Call, request: pb.ListVmsRequest) -> pb.ListVmsResponse:
        found, token = vms.list_vms(
            reader, call, request.host_id, page_in(request), include_stopped=request.include_stopped
        )
        return pb.ListVmsResponse(vms=[shown(vm) for vm in found], next_page_token=token)

    def get(reader: Reader, call: Call, request: pb.GetVmRequest) -> pb.GetVmResponse:
        return pb.GetVmResponse(vm=shown(vms.get_vm(reader, call, request.id)))

    async def boot(services: Services, call: Call, request: pb.BootVmsRequest) -> pb.BootVmsResponse:
        booted = await vms.boot_vms(services, call, count=request.count, image=request.image, host_id=request.host_id)
        return pb.BootVmsResponse(vms=[shown(vm) for vm in booted])

    async def pause(services: Services, call: Call, request: pb.PauseVmRequest) -> pb.PauseVmResponse:
        return pb.PauseVmResponse(vm=shown(await vms.pause_vm(services, call, request.id)))

    async def resume(services: Services, call: Call, request: pb.ResumeVmRequest) -> pb.ResumeVmResponse:
        return pb.ResumeVmResponse(vm=shown(await vms.resume_vm(services, call, request.id)))

    return {
        f"{SERVICE}.ListVms": Query(list_vms),
        f"{SERVICE}.GetVm": Query(get),
        f"{SERVICE}.BootVms": Action(boot),
        f"{SERVICE}.PauseVm": Action(pause),
        f"{SERVICE}.ResumeVm": Action(resume),
        f"{SERVICE}.DeleteVm": Action(delete),
        f"{SERVICE}.GetVmStats": Action(stats),
        f"{SERVICE}.Console": Stream(console),
        **health_bindings(runtime),
    }


def health_bindings(runtime: Runtime) -> Bindings:
    def health(reader: Reader, call: Call, request: pb.GetVmHealthRequest) -> pb.GetVmHealthResponse:
        connected = runtime.connected()
        vm = vms.get_vm(reader, call, request.id)
        told = vm_out(shown_vm(vm, connected))
        return pb.GetVmHealthResponse(
            vm_id=vm.id,
            health=told.health,
            last_seen_at=timestamp(vm.last_seen_at),
            misses=vm.misses,
            host_connected=vm.host_id in connected,
        )

    def unhealthy(reader: Reader, call: Call, request: pb.ListUnhealthyVmsRequest) -> pb.ListUnhealthyVmsResponse:
        connected = runtime.connected()
        found, token = vms.list_unhealthy(
            reader, call, request.host_id, page_in(request), connected, include_stopped=request.include_stopped
        )
        return pb.ListUnhealthyVmsResponse(vms=[vm_out(vm) for vm in found], next_page_token=token)

    return {
        f"{SERVICE}.GetVmHealth": Query(health),
        f"{SERVICE}.ListUnhealthyVms": Query(unhealthy),
        f"{SERVICE}.CleanupVms": Action(cleanup),
    }


async def cleanup(services: Services, call: Call, request: pb.CleanupVmsRequest) -> pb.CleanupVmsResponse:
    age = whole_seconds(request.older_than, "/older_than")
    gone, errors = await vms.cleanup_vms(services, call, age)
    return pb.CleanupVmsResponse(vms=[vm_out(vm) for vm in gone], errors=errors)


async def delete(services: Services, call: Call, request: pb.DeleteVmRequest) -> pb.DeleteVmResponse:
    await vms.delete_vm(services, call, request.id)
    return pb.DeleteVmResponse()


async def stats(services: Services, call: Call, request: pb.GetVmStatsRequest) -> pb.GetVmStatsResponse:
    samples = await vms.vm_stats(services, call, request.id)
    return pb.GetVmStatsResponse(samples=[sample_out(sample) for sample in samples])


async def console(
    services: Services, call: Call, requests: AsyncIterator[pb.ConsoleRequest]
) -> AsyncGenerator[pb.ConsoleResponse, None]:
    """The first request names the VM; what it and the later ones carry is typed."""
    first = await anext(requests)
    vm = await services.store.read(lambda reader: vms.get_vm(reader, call, first.vm_id))
    if vm.state is VmState.STOPPED:
        raise FailedPrecondition(f"{vm.id} is stopped", reason="vm_stopped")
    async for data in services.fleet.console(vm.host_id, vm.id, typed(first, requests)):
        yield pb.ConsoleResponse(data=data)


async def typed(first: pb.ConsoleRequest, rest: AsyncIterator[pb.ConsoleRequest]) -> AsyncGenerator[bytes, None]:
    if first.data:
        yield first.data
    async for request in rest:
        yield request.data
