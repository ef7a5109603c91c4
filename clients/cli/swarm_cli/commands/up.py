"""`swarm up`."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import click
from rich.markup import escape

from swarm_cli.context import App, command
from swarm_cli.progress import show
from swarm_cli.render import text
from swarm_cli.services import HOST_NAME, Service, services
from swarm_sdk.client import Client
from swarm_sdk.errors import FailedPreconditionError, SwarmError
from swarm_sdk.types import Host, HostState, Progress, to_dict

CONTROL_TIMEOUT_S = 60.0
HOST_TIMEOUT_S = 1800.0  # the first start builds an image and bakes a template
POLL_S = 0.1


@click.group()
def _root() -> None: ...


@command(_root, "up", examples="  swarm up\n  swarm up --max-vms 4\n  swarm up --driver sim --state-dir ./state")
@click.option(
    "--driver",
    type=click.Choice(["qemu", "sim"]),
    default="qemu",
    show_default=True,
    help="sim runs no VM: development only.",
)
@click.option("--max-vms", type=click.IntRange(1, 1000), default=None, help="VMs at once on this machine.")
@click.option("--foreground", is_flag=True, help="Stay until Ctrl-C, then stop everything.")
async def cli(app: App, driver: str, max_vms: int | None, foreground: bool) -> None:
    """Start the control plane and one host on this machine, with SQLite. Safe to repeat."""
    if driver != "sim" and os.geteuid() != 0:
        raise FailedPreconditionError(
            "a host needs root: it makes network namespaces and starts VMs; try sudo, or --driver sim"
        )
    options = ["--driver", driver, *(["--max-vms", str(max_vms)] if max_vms else [])]
    control, host = services(app.state_dir, options)
    try:
        await _start_all(app, control, host, bake=driver != "sim")
        while foreground and control.pid() and host.pid():
            await asyncio.sleep(POLL_S)
    finally:
        if foreground:
            for service in (host, control):
                service.stop()
            app.note("stopped")
    if foreground:
        raise FailedPreconditionError(f"a process ended by itself; see {control.log.parent}")


async def _start_all(app: App, control: Service, host: Service, *, bake: bool) -> None:
    _start(app, control)
    await _start_host(app, control, host)
    async with app.client() as client:
        await show(app, "host", _preparing(client, host))
        if bake:
            await show(app, "template", client.hosts.bake_template(host=HOST_NAME))
        _tell(app, await client.hosts.get(HOST_NAME))


def _start(app: App, service: Service) -> None:
    if service.pid() is not None:
        app.note(f"{service.name} runs already")
        return
    app.note(f"starting {service.name}; its log is {escape(str(service.log))}")
    service.start()


async def _start_host(app: App, control: Service, host: Service) -> None:
    """The host needs the token that the control plane makes, so it comes second."""
    token = app.state_dir / "hosts" / f"{HOST_NAME}.token"
    async for _ in _until(control, CONTROL_TIMEOUT_S):
        if token.exists() and (app.state_dir / "controlplane.sock").exists():
            break
    _start(app, host)


async def _preparing(client: Client, host: Service) -> AsyncIterator[Progress]:
    """What the host says of its preparations, until the control plane has it."""
    async for _ in _until(host, HOST_TIMEOUT_S):
        with contextlib.suppress(SwarmError):
            found = await client.hosts.get(HOST_NAME)
            if found.state != HostState.HOST_STATE_OFFLINE:
                return
        if step := host.last_step():
            yield Progress(host_id=HOST_NAME, fraction=step[0] / 100, message=step[1])


async def _until(service: Service, timeout_s: float) -> AsyncIterator[None]:
    """Turns until the caller breaks; fails when the service ends or time is up."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                yield
                if service.pid() is None:
                    raise FailedPreconditionError(f"{service.name} ended at once:\n{service.last_words()}")
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        late = f"{service.name} is not ready after {timeout_s:.0f} s; see {service.log}"
        raise FailedPreconditionError(late) from None


def _tell(app: App, host: Host) -> None:
    if app.as_json:
        app.emit({"state_dir": str(app.state_dir), "url": app.url, "host": to_dict(host)})
        return
    for warning in host.warnings:
        app.note(f"[yellow]{text(warning)}[/]")
    link = app.state_dir / "setup.url"
    if link.exists():
        app.note(f"for accounts of your own: swarm admin create EMAIL, or the link in {escape(str(link))}")
    if app.url:
        app.note(f"API at {escape(app.url)}, its browser at {escape(app.url)}/docs")
    app.note("up. Next: swarm run --spec CARD --repo URL --follow")
