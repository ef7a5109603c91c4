"""`swarm vm ...`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import click

from swarm_cli.ages import AGE
from swarm_cli.context import App, command
from swarm_cli.render import ago, boot, paint, size, table, text
from swarm_cli.terminal import attach
from swarm_sdk.types import Vm, name_of, tier_of, to_dict


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
            paint(name_of(vm, "health")),
            name_of(vm, "isolation").replace("_", "-"),
            text(vm.image),
            str(vm.vcpus),
            str(vm.memory_mib),
            *boot(vm.boot),
            f"{vm.last_sample.cpu_seconds:.1f}",
            size(vm.last_sample.memory_bytes),
            text(vm.ticket_id[:11]),
        ]
        for vm in vms
    ]
    columns = [
        "VM",
        "STATE",
        "HEALTH",
        "ISOLATION",
        "IMAGE",
        ">VCPUS",
        ">RAM MiB",
        "TIER",
        ">BOOT ms",
        ">READY ms",
        ">CPU s",
    ]
    app.out.print(table([*columns, ">MEMORY", "TICKET"], rows))


@command(cli, "health", examples="  swarm vm health vm_01ABC")
@click.argument("ident", metavar="ID")
async def health(app: App, ident: str) -> None:
    """Show whether a VM gives signs of life."""
    async with app.client() as client:
        found = await client.vms.health(ident)
    if app.as_json:
        app.emit(to_dict(found))
        return
    seen = ago(found.last_seen_at) or "never"
    away = "" if found.host_connected else "; its host is away"
    app.out.print(
        f"{found.vm_id} {paint(name_of(found, 'health'))}  last seen {seen}, {found.misses} missed{away}",
        highlight=False,
    )


@command(cli, "unhealthy", examples="  swarm vm unhealthy\n  swarm vm unhealthy --all --json")
@click.option("--host", default="", help="Only VMs of this host (id or name).")
@click.option("--all", "everything", is_flag=True, help="Those that were ended for it too.")
async def unhealthy(app: App, host: str, everything: bool) -> None:
    """List VMs that give no sign of life, or whose host is away."""
    async with app.client() as client:
        vms = await client.vms.list_unhealthy(host_id=host, include_stopped=everything)
    if app.as_json or vms:
        _show_all(app, vms)
    else:
        app.out.print("every VM is healthy", highlight=False)


@command(cli, "cleanup", examples="  swarm vm cleanup --older-than 10m\n  swarm vm cleanup --older-than 2h")
@click.option("--older-than", type=AGE, default="10m", show_default=True, help="Age since the boot: 30s, 10m, 2h, 1d.")
async def cleanup(app: App, older_than: float) -> None:
    """Destroy VMs that were booted by hand; those of tickets stay."""
    async with app.client() as client:
        done = await client.vms.cleanup(older_than_s=older_than)
    if app.as_json:
        app.emit(to_dict(done))
        return
    for vm in done.vms:
        app.out.print(f"removed {vm.id}", highlight=False)
    for error in done.errors:
        app.out.print(f"[red]{text(error)}[/]", highlight=False)
    app.note(f"{len(done.vms)} removed")


@command(cli, "tiers", examples="  swarm vm tiers")
async def tiers(app: App) -> None:
    """Show boot times by tier: how VMs came up, and how long it took."""
    async with app.client() as client:
        vms = await client.vms.list(include_stopped=True)
    by_tier: dict[str, list[Vm]] = {}
    for vm in vms:
        by_tier.setdefault(tier_of(vm.boot), []).append(vm)
    found = {tier: _times(by_tier[tier]) for tier in sorted(by_tier) if tier}
    if app.as_json:
        app.emit(found)
        return
    rows = [[tier, str(times["vms"]), *(f"{times[name]:.1f}" for name in TIMES)] for tier, times in found.items()]
    app.out.print(table(["TIER", ">VMS", ">BOOT ms p50", ">MAX", ">READY ms p50", ">MAX"], rows))


TIMES = ("boot_ms_p50", "boot_ms_max", "ready_ms_p50", "ready_ms_max")


def _times(vms: Sequence[Vm]) -> dict[str, float]:
    """Milliseconds from the acquire to the running VM, and to its first request at the broker."""
    boots = [vm.boot.boot_us / 1000 for vm in vms]
    readies = [vm.boot.ready_us / 1000 for vm in vms if vm.boot.ready_us] or [0.0]
    values = (statistics.median(boots), max(boots), statistics.median(readies), max(readies))
    return {"vms": len(vms), **dict(zip(TIMES, values, strict=True))}


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
