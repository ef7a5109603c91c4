"""`swarm engine ...`: the coordinator, which places tickets on hosts."""

from __future__ import annotations

import asyncio

import click

from swarm_cli.context import App, command
from swarm_cli.render import counted, paint
from swarm_sdk.client import Client
from swarm_sdk.types import CoordinatorStatus, name_of, to_dict

SECONDS_BETWEEN_LINES = 2.0


@click.group()
def cli() -> None:
    """Start, stop and watch the coordinator."""


@command(cli, "start", examples="  swarm engine start --max-vms 8\n  swarm engine start --foreground --max-vms 4")
@click.option(
    "--max-vms", type=click.IntRange(0, 100_000), default=0, help="VMs at once over all hosts; 0 keeps the limit."
)
@click.option("--foreground", is_flag=True, help="Stay and print the queue; Ctrl-C stops the coordinator.")
async def start(app: App, max_vms: int, foreground: bool) -> None:
    """Place tickets. The same as starting the coordinator with a cap on VMs."""
    async with app.client() as client:
        status = await client.coordinator.start(max_vms=max_vms)
        _show(app, status)
        if not foreground:
            return
        try:
            await _watch(app, client, status)
        finally:
            await asyncio.shield(client.coordinator.stop())
            app.note("coordinator stopped; what runs goes on")


async def _watch(app: App, client: Client, shown: CoordinatorStatus) -> None:
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_LINES)
        status = await client.coordinator.status()
        if (status.running, status.queue_depth) != (shown.running, shown.queue_depth):
            _show(app, status)
            shown = status


@command(cli, "stop", examples="  swarm engine stop")
async def stop(app: App) -> None:
    """Place nothing new; what runs goes on."""
    async with app.client() as client:
        _show(app, await client.coordinator.stop())


@command(cli, "status", examples="  swarm engine status --json")
async def status(app: App) -> None:
    """State, queue depth and running VMs."""
    async with app.client() as client:
        _show(app, await client.coordinator.status())


def _show(app: App, status: CoordinatorStatus) -> None:
    if app.as_json:
        app.emit(to_dict(status))
        return
    limit = f", at most {counted(status.max_vms, 'VM')}" if status.max_vms else ""
    state = paint(name_of(status, "state"))
    app.out.print(f"{state}: {status.running} running, {status.queue_depth} waiting{limit}", highlight=False)
