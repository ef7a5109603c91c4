"""`swarm status`."""

from __future__ import annotations

import click

from swarm_cli.context import App, command
from swarm_cli.render import counted, paint, table, text
from swarm_sdk.types import name_of, to_dict


@click.group()
def _root() -> None: ...


@command(_root, "status", examples="  swarm status\n  swarm status --json")
async def cli(app: App) -> None:
    """What runs, what waits, and why nothing is placed."""
    async with app.client() as client:
        status = await client.coordinator.status()
        hosts = await client.hosts.list()
    if app.as_json:
        app.emit(to_dict(status) | {"url": app.url, "hosts": [to_dict(host) for host in hosts]})
        return
    limit = f", at most {counted(status.max_vms, 'VM')}" if status.max_vms else ""
    app.out.print(f"coordinator {paint(name_of(status, 'state'))}{limit}  version {status.version}", highlight=False)
    if app.url:
        app.out.print(f"API and its browser at {text(app.url)}/docs", highlight=False)
    app.out.print(f"{status.running} running, {status.queue_depth} waiting for a place", highlight=False)
    if status.disk_full:
        app.out.print(f"[bold red]no new work is taken:[/] {text(status.disk_full)}", highlight=False)
    silent = sum(host.silent for host in hosts)
    app.out.print(
        f"{counted(status.vms, 'VM')}, {status.vms_unhealthy} unhealthy;"
        f" {counted(len(hosts), 'host')}, {silent} silent",
        highlight=False,
    )
    for alert in status.alerts:
        app.out.print(f"[bold red]alert:[/] {text(alert)}", highlight=False)
    counts = [(state, str(count)) for state, count in sorted(status.tickets.items()) if count]
    if counts:
        app.out.print(table(["STATE", ">TICKETS"], [[paint(state), count] for state, count in counts]))
    rows = [[text(host.name), paint(name_of(host, "state")), _used(host.used.vms, host.capacity.vms)] for host in hosts]
    app.out.print(table(["HOST", "STATE", ">VMS"], rows))
    for key, reason in sorted(status.unplaceable.items()):
        app.out.print(f"[yellow]{text(key)}[/] waits: {text(reason)}", highlight=False)


def _used(used: int, capacity: int) -> str:
    return f"{used}/{capacity}"
