"""`swarm host ...`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import click

from swarm_cli.context import App, command
from swarm_cli.render import ago, counted, paint, table, text
from swarm_sdk.types import Host, name_of, to_dict

POLL_S = 1.0


@click.group()
def cli() -> None:
    """List, cordon and drain hosts. ID is a host's id or name."""


@command(cli, "list", examples="  swarm host list")
async def list_(app: App) -> None:
    """List hosts with their capacity and isolation class."""
    async with app.client() as client:
        hosts = await client.hosts.list()
    if app.as_json:
        app.emit([to_dict(host) for host in hosts])
    else:
        _table(app, hosts)


def _table(app: App, hosts: Iterable[Host]) -> None:
    rows = [
        [
            text(host.name),
            host.id[:11],
            paint(name_of(host, "state")),
            "[red]silent[/] " + ago(host.last_seen_at) if host.silent else ago(host.last_seen_at),
            name_of(host, "isolation").replace("_", "-"),
            f"{host.used.vms}/{host.capacity.vms}",
            f"{host.used.vcpus}/{host.capacity.vcpus}",
            f"{host.used.memory_mib}/{host.capacity.memory_mib}",
            text(host.version),
        ]
        for host in hosts
    ]
    app.out.print(table(["HOST", "ID", "STATE", "SEEN", "ISOLATION", ">VMS", ">VCPUS", ">MEMORY MiB", "VERSION"], rows))
    for host in hosts:
        for warning in host.warnings:
            app.out.print(f"[yellow]{text(host.name)}:[/] {text(warning)}", highlight=False)


@command(cli, "show", examples="  swarm host show local")
@click.argument("ident", metavar="ID")
async def show(app: App, ident: str) -> None:
    """Show one host with its images and templates."""
    async with app.client() as client:
        host = await client.hosts.get(ident)
        images = await client.hosts.images(host=host.id)
        templates = await client.hosts.templates(host=host.id)
    if app.as_json:
        parts = {"images": [to_dict(each) for each in images], "templates": [to_dict(each) for each in templates]}
        app.emit(to_dict(host) | parts)
        return
    _table(app, [host])
    for label, value in sorted(host.labels.items()):
        app.out.print(f"  label {text(label)}={text(value)}", highlight=False)
    app.out.print(f"  {counted(len(images), 'image')}, {counted(len(templates), 'template')}", highlight=False)


@command(cli, "cordon", examples="  swarm host cordon local")
@click.argument("ident", metavar="ID")
async def cordon(app: App, ident: str) -> None:
    """Place nothing new on a host; what runs goes on."""
    async with app.client() as client:
        _done(app, await client.hosts.cordon(ident))


@command(cli, "uncordon", examples="  swarm host uncordon local")
@click.argument("ident", metavar="ID")
async def uncordon(app: App, ident: str) -> None:
    """Place tickets on a host again."""
    async with app.client() as client:
        _done(app, await client.hosts.uncordon(ident))


@command(
    cli,
    "drain",
    examples="  swarm host drain local --deadline 600\n  swarm host drain local --deadline 600 --wait",
)
@click.argument("ident", metavar="ID")
@click.option(
    "--deadline", type=click.FloatRange(0), help="Seconds; what runs then is placed elsewhere. Default: none."
)
@click.option("--wait", is_flag=True, help="Return when no ticket is left on it.")
async def drain(app: App, ident: str, deadline: float | None, *, wait: bool) -> None:
    """Empty a host: nothing new, and at the deadline what is left goes elsewhere."""
    async with app.client() as client:
        host = await client.hosts.drain(ident, deadline_s=deadline)
        while wait and host.used.vms and name_of(host, "state") == "draining":
            app.note(f"{host.used.vms} left on {host.name}")
            await asyncio.sleep(POLL_S)
            host = await client.hosts.get(host.id)
    _done(app, host)


def _done(app: App, host: Host) -> None:
    if app.as_json:
        app.emit(to_dict(host))
    else:
        app.out.print(f"{text(host.name)} {paint(name_of(host, 'state'))}", highlight=False)
