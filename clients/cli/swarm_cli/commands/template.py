"""`swarm template ...`."""

from __future__ import annotations

import click

from swarm_cli.context import App, command
from swarm_cli.progress import show
from swarm_cli.render import size, table, text
from swarm_sdk.types import to_dict


@click.group()
def cli() -> None:
    """Bake, list and verify templates: the snapshots that VMs are restored from."""


@command(cli, "bake", examples="  swarm template bake\n  swarm template bake --memory 1024 --vcpus 2")
@click.argument("image", default="")
@click.option("--host", default="", help="Host; default: every online host.")
@click.option("--vcpus", type=click.IntRange(0, 32), default=0, help="0: the image's.")
@click.option("--memory", "memory_mib", type=click.IntRange(0), default=0, help="MiB; 0: the image's.")
async def bake(app: App, image: str, host: str, vcpus: int, memory_mib: int) -> None:
    """Boot an image once and keep its snapshot."""
    async with app.client() as client:
        await show(app, "template", client.hosts.bake_template(image, host=host, vcpus=vcpus, memory_mib=memory_mib))


@command(cli, "list", examples="  swarm template list")
async def list_(app: App) -> None:
    """List the templates that hosts hold."""
    async with app.client() as client:
        templates = await client.hosts.templates()
    if app.as_json:
        app.emit([to_dict(each) for each in templates])
        return
    rows = [
        [
            text(each.digest[:12]),
            text(each.image),
            each.host_id[:11],
            f"{text(each.driver)} {text(each.driver_version)}",
            str(each.vcpus),
            str(each.memory_mib),
            size(each.size_bytes),
        ]
        for each in templates
    ]
    app.out.print(table(["TEMPLATE", "IMAGE", "HOST", "DRIVER", ">VCPUS", ">RAM MiB", ">SIZE"], rows))


@command(cli, "verify", examples="  swarm template verify\n  swarm template verify 3f9a01")
@click.argument("digest", default="all")
@click.option("--host", default="")
async def verify(app: App, digest: str, host: str) -> None:
    """Hash templates again and compare."""
    async with app.client() as client:
        await show(app, "verify", client.hosts.verify_template(digest, host=host))
