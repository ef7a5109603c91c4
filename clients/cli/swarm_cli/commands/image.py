"""`swarm image ...`."""

from __future__ import annotations

import click

from swarm_cli.context import App, command
from swarm_cli.progress import show
from swarm_cli.render import size, table, text
from swarm_sdk.types import to_dict


@click.group()
def cli() -> None:
    """Build and list VM images."""


@command(cli, "build", examples="  swarm image build")
@click.argument("name", default="")
@click.option("--host", default="", help="Host; default: every online host.")
async def build(app: App, name: str, host: str) -> None:
    """Build an image from Debian packages."""
    async with app.client() as client:
        await show(app, "image", client.hosts.build_image(name, host=host))


@command(cli, "list", examples="  swarm image list")
async def list_(app: App) -> None:
    """List the images that hosts hold."""
    async with app.client() as client:
        images = await client.hosts.images()
    if app.as_json:
        app.emit([to_dict(image) for image in images])
        return
    rows = [
        [
            text(each.name),
            text(each.digest[:12]),
            each.host_id[:11],
            size(each.size_bytes),
            str(each.vcpus),
            str(each.memory_mib),
            str(each.disk_mib),
        ]
        for each in images
    ]
    app.out.print(table(["IMAGE", "DIGEST", "HOST", ">SIZE", ">VCPUS", ">RAM MiB", ">DISK MiB"], rows))
