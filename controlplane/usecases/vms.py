"""VMs: reading them, and acting on them through their hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final

from controlplane.domain.call import Call
from controlplane.domain.host import Host, HostState
from controlplane.domain.vm import Vm, VmSample, VmState, ailing, shown
from controlplane.errors import FailedPrecondition, NotFound, SwarmError, Unavailable
from controlplane.ports import Page, Reader
from controlplane.usecases.hosts import all_hosts, get_host
from controlplane.usecases.services import Services

AT_ONCE: Final = 16


def list_vms(
    reader: Reader, call: Call, host_id: str, page: Page, *, include_stopped: bool = False
) -> tuple[list[Vm], str]:
    """Oldest first, with the token of the next page, if any. `host_id` may be a name; empty: of all hosts."""
    host = reader.host(host_id) if host_id else None
    tenant = call.principal.tenant_id
    return reader.vms(host.id if host else host_id, include_stopped=include_stopped, page=page, tenant_id=tenant)


def get_vm(reader: Reader, call: Call, ident: str) -> Vm:
    """Of the caller's own tickets; those that were booted by hand belong to the tenant that runs the deployment."""
    if vm := reader.vm(ident, call.principal.tenant_id):
        return vm
    raise NotFound(f"there is no VM {ident}")


def list_unhealthy(
    reader: Reader,
    call: Call,
    host_id: str,
    page: Page,
    connected: Collection[str],
    *,
    include_stopped: bool = False,
) -> tuple[list[Vm], str]:
    """Of a page of all VMs those that ail, as `shown`; the token is that of the next page."""
    found, token = list_vms(reader, call, host_id, page, include_stopped=include_stopped)
    return [shown(vm, connected) for vm in found if ailing(vm, connected)], token


async def cleanup_vms(services: Services, call: Call, age_s: float) -> tuple[list[Vm], list[str]]:
    """Terminate VMs booted by hand, so many seconds ago at least, on hosts that are attached.

    Answers those that are gone, and a line about each that could not be terminated.
    """
    connected = services.fleet.connected()
    old = await services.store.read(lambda reader: _by_hand(reader, call.now - age_s, connected))
    places, errors = asyncio.Semaphore(AT_ONCE), list[str]()

    async def end(vm: Vm) -> bool:
        try:
            async with places:
                await delete_vm(services, call, vm.id)
        except SwarmError as fault:
            errors.append(f"{vm.id}: {fault.message}")
            return False
        return True

    ended = await asyncio.gather(*(end(vm) for vm in old))
    return [vm for vm, done in zip(old, ended, strict=True) if done], errors


def _by_hand(reader: Reader, before: float, connected: Collection[str]) -> list[Vm]:
    found, token = list[Vm](), ""
    while True:
        vms, token = reader.vms("", include_stopped=False, page=Page(token=token))
        found += [vm for vm in vms if not vm.attempt_id and vm.created_at <= before and vm.host_id in connected]
        if not token:
            return found


async def vm_stats(services: Services, call: Call, ident: str) -> list[VmSample]:
    """Oldest first. What was sampled before this control plane started is not known."""
    vm = await services.store.read(lambda reader: get_vm(reader, call, ident))
    samples = services.fleet.samples(vm.host_id, vm.id)
    return samples or ([vm.sample] if vm.sample else [])


async def boot_vms(services: Services, call: Call, *, count: int, image: str, host_id: str) -> list[Vm]:
    """Boot VMs by hand on one host, the one with most room when none is named."""
    connected = services.fleet.connected()
    host = await services.store.read(lambda reader: _roomiest(reader, call, host_id, connected))
    return await _command(services, host.id, "boot_vms", {"count": count, "image": image})


async def pause_vm(services: Services, call: Call, ident: str) -> Vm:
    return await _act(services, call, ident, "pause")


async def resume_vm(services: Services, call: Call, ident: str) -> Vm:
    return await _act(services, call, ident, "resume")


async def delete_vm(services: Services, call: Call, ident: str) -> None:
    """End the VM; its host reports the attempt in it as lost, and the ticket is placed again. Repeating it is fine."""
    vm = await services.store.read(lambda reader: get_vm(reader, call, ident))
    if vm.state is not VmState.STOPPED:
        await _command(services, vm.host_id, "vm", {"vm_id": vm.id, "verb": "terminate"})


async def _act(services: Services, call: Call, ident: str, verb: str) -> Vm:
    vm = await services.store.read(lambda reader: get_vm(reader, call, ident))
    if vm.state is VmState.STOPPED:
        raise FailedPrecondition(f"{vm.id} is stopped", reason="vm_stopped")
    await _command(services, vm.host_id, "vm", {"vm_id": vm.id, "verb": verb})
    return await services.store.read(lambda reader: get_vm(reader, call, ident))


async def _command(services: Services, host_id: str, verb: str, arguments: Mapping[str, Any]) -> list[Vm]:
    """Follow a command to its end and store what it says of VMs; raises the host's error."""
    vms: dict[str, Vm] = {}
    async for update in services.fleet.command(host_id, verb, arguments):
        vms |= {vm.id: vm for vm in update.vms}
    if vms:
        await services.store.write(lambda tx: tx.save_vms(list(vms.values())))
    return list(vms.values())


def _roomiest(reader: Reader, call: Call, host_id: str, connected: frozenset[str]) -> Host:
    if host_id:
        return get_host(reader, call, host_id)
    ready = [host for host in all_hosts(reader) if host.id in connected and host.state is HostState.ONLINE]
    if not ready:
        raise Unavailable("no host is online", reason="no_host", retry_after_s=1.0)
    return max(ready, key=lambda host: host.capacity.vms - host.used.vms)
