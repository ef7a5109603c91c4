"""`swarm vm ...`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from swarm_cli.context import App, command
from swarm_cli.render import boot, paint, size, table, text
from swarm_cli.terminal import attach
from swarm_sdk.types import Vm, name_of, to_dict


@click.group()
def cli() -> None:
    """List, boot and control microVMs."""


@command(cli, "list", examples="  swarm vm list\n  swarm vm list --all --json")
@click.option("--host", default="", help="Only VMs of this host (id).")
@click.option("--all", "everything", is_flag=True, help="Stopped VMs too.")
async def list_(app: App, host: str, everything: bool) -> None:
    """List VMs."""
    async with app.client() as client:
        vms = await client.vms.list(host_id=host, include_stopped=everything)
    _show_all(app, vms)


def _show_all(app: App, vms: Sequence[Vm]) -> None:
    if app.as_json:
        app.emit([to_dict(vm) for vm in vms])
        return
    rows = [
        [
            vm.id,
            paint(name_of(vm, "state")),
            name_of(vm, "isolation").replace("_", "-"),
            text(vm.image),
            str(vm.vcpus),
            str(vm.memory_mib),
            *boot(vm.boot),
            f"{vm.last_sample.cpu_seconds:.1f}",
            size(vm.last_sample.memory_bytes),
            vm.ticket_id[:11],
        ]
        for vm in vms
    ]
    columns = ["VM", "STATE", "ISOLATION", "IMAGE", ">VCPUS", ">RAM MiB", "TIER", ">BOOT ms", ">READY ms", ">CPU s"]
    app.out.print(table([*columns, ">MEMORY", "TICKET"], rows))


@command(cli, "show", examples="  swarm vm show vm_01ABC")
@click.argument("ident", metavar="ID")
async def show(app: App, ident: str) -> None:
    """Show one VM with its usage over time."""
    async with app.client() as client:
        vm = await client.vms.get(ident)
        samples = await client.vms.stats(ident)
    if app.as_json:
        app.emit(to_dict(vm) | {"samples": [to_dict(each) for each in samples]})
        return
    _show_all(app, [vm])
    rows = [
        [
            each.time.ToDatetime().strftime("%H:%M:%S"),
            f"{each.cpu_seconds:.1f}",
            size(each.memory_bytes),
            size(each.private_bytes),
            size(each.read_bytes),
            size(each.write_bytes),
        ]
        for each in samples[-20:]
    ]
    app.out.print(table(["TIME", ">CPU s", ">MEMORY", ">PRIVATE", ">READ", ">WRITTEN"], rows))


@command(cli, "boot", examples="  swarm vm boot\n  swarm vm boot --count 4")
@click.option("--count", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--image", default="", help="Image; default: the host's default image.")
@click.option("--host", default="", help="Host id; default: the one with the most room.")
async def boot_(app: App, count: int, image: str, host: str) -> None:
    """Boot VMs without a ticket, to look around or to measure."""
    async with app.client() as client:
        _show_all(app, await client.vms.boot(count, image=image, host_id=host))


@command(cli, "pause", examples="  swarm vm pause vm_01ABC")
@click.argument("ident", metavar="ID")
async def pause(app: App, ident: str) -> None:
    """Stop a VM's processors; its memory stays."""
    async with app.client() as client:
        _show_all(app, [await client.vms.pause(ident)])


@command(cli, "resume", examples="  swarm vm resume vm_01ABC")
@click.argument("ident", metavar="ID")
async def resume(app: App, ident: str) -> None:
    """Let a paused VM go on."""
    async with app.client() as client:
        _show_all(app, [await client.vms.resume(ident)])


@command(cli, "rm", examples="  swarm vm rm vm_01ABC")
@click.argument("idents", metavar="ID...", nargs=-1, required=True)
async def remove(app: App, idents: Sequence[str]) -> None:
    """Destroy VMs; a ticket in one of them is placed again."""
    async with app.client() as client:
        for ident in idents:
            await client.vms.delete(ident)
            app.note(f"removed {ident}")
    if app.as_json:
        app.emit({"removed": list(idents)})


@command(cli, "console", examples="  swarm vm console vm_01ABC")
@click.argument("ident", metavar="ID")
async def console(app: App, ident: str) -> None:
    """Attach to a VM's serial console. Ctrl-] leaves it."""
    app.note("attached; Ctrl-] leaves")
    async with app.client() as client:
        await attach(await client.vms.console(ident))
