"""`swarm up`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator

import click

from swarm_cli.context import App, command
from swarm_cli.progress import show
from swarm_cli.services import HOST_NAME, Service, services
from swarm_sdk.client import Client
from swarm_sdk.errors import FailedPreconditionError, SwarmError
from swarm_sdk.types import Host, HostState, to_dict

READY_TIMEOUT_S = 60.0
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
    children = [child for child in (_start(app, control), await _start_host(app, control, host)) if child]
    async with app.client() as client:
        attached = await _attached(client, host)
        if driver != "sim":
            await show(app, "template", client.hosts.bake_template(host=attached.id))
        attached = await client.hosts.get(attached.id)
    _tell(app, attached)
    if foreground:
        await _stay(app, (host, control), children)


def _start(app: App, service: Service) -> subprocess.Popen[bytes] | None:
    if service.pid() is not None:
        app.note(f"{service.name} runs already")
        return None
    app.note(f"starting {service.name}; its log is {service.log}")
    return service.start()


async def _start_host(app: App, control: Service, host: Service) -> subprocess.Popen[bytes] | None:
    """The host needs the token that the control plane makes, so it comes second."""
    token = app.state_dir / "hosts" / f"{HOST_NAME}.token"
    async for _ in _until(control):
        if token.exists() and (app.state_dir / "controlplane.sock").exists():
            break
    return _start(app, host)


async def _attached(client: Client, host: Service) -> Host:
    """The host once the control plane has it."""
    async for _ in _until(host):
        with contextlib.suppress(SwarmError):
            found = await client.hosts.get(HOST_NAME)
            if found.state != HostState.HOST_STATE_OFFLINE:
                return found
    raise AssertionError("waiting ends by a result or an error")


async def _until(service: Service) -> AsyncIterator[None]:
    """Turns until the caller breaks; fails when the service ends or time is up."""
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while True:
                yield
                if service.pid() is None:
                    raise FailedPreconditionError(f"{service.name} ended at once:\n{service.last_words()}")
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise FailedPreconditionError(
            f"{service.name} is not ready after {READY_TIMEOUT_S:.0f} s; see {service.log}"
        ) from None


def _tell(app: App, host: Host) -> None:
    if app.as_json:
        app.emit({"state_dir": str(app.state_dir), "host": to_dict(host)})
        return
    for warning in host.warnings:
        app.note(f"[yellow]{warning}[/]")
    app.note("up. Next: swarm run --spec CARD --repo URL --follow")


async def _stay(app: App, order: tuple[Service, ...], children: list[subprocess.Popen[bytes]]) -> None:
    """Stays until it is interrupted or a process ends by itself, then stops all of them."""
    try:
        while all(child.poll() is None for child in children):
            await asyncio.sleep(POLL_S)
    finally:
        for service in order:
            service.stop()
        app.note("stopped")
