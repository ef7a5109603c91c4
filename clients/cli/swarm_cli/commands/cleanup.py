"""`swarm cleanup`."""

from __future__ import annotations

import click

from swarm_cli.context import App, command
from swarm_cli.render import text
from swarm_sdk.types import to_dict


@click.group()
def _root() -> None: ...


@command(_root, "cleanup", examples="  swarm cleanup")
async def cli(app: App) -> None:
    """Remove VMs, namespaces and files that nothing owns any more, on every online host."""
    async with app.client() as client:
        report = await client.coordinator.cleanup()
    if app.as_json:
        app.emit(to_dict(report))
        return
    counts = f"{report.vms} VMs, {report.namespaces} namespaces, {report.files} files, {report.assignments} assignments"
    app.out.print(f"removed {counts}", highlight=False)
    for detail in report.details:
        app.out.print(f"  {text(detail)}", highlight=False)
