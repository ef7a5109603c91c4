"""`swarm down`."""

from __future__ import annotations

import click

from swarm_cli.context import App, command
from swarm_cli.services import services


@click.group()
def _root() -> None: ...


@command(_root, "down", examples="  swarm down")
async def cli(app: App) -> None:
    """Stop the host, with its VMs, then the control plane. Tickets go on after the next `swarm up`."""
    stopped = [service.name for service in reversed(services(app.state_dir)) if service.stop()]
    if app.as_json:
        app.emit({"stopped": stopped})
    else:
        app.note(f"stopped {' and '.join(stopped)}" if stopped else "nothing was running")
