"""`swarm agent ...`."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import click
from google.protobuf.json_format import ParseDict, ParseError

from swarm_cli.commands import agent_live
from swarm_cli.context import WORK_FAILED, App, command
from swarm_cli.follow import GONE_WRONG, follow
from swarm_cli.logs import LOGS, recorded
from swarm_cli.render import table, text
from swarm_cli.scaffold import scaffold
from swarm_cli.steps import image_of
from swarm_sdk.errors import InvalidArgumentError
from swarm_sdk.types import TicketSpec, to_dict


@click.group()
def cli() -> None:
    """Make, test, publish and list agents, and see those that run."""


@command(cli, "list", examples="  swarm agent list")
async def list_(app: App) -> None:
    """List registered agents."""
    async with app.client() as client:
        agents = await client.registry.list()
    if app.as_json:
        app.emit([to_dict(agent) for agent in agents])
        return
    rows = [
        [
            text(each.name),
            text(each.version),
            image_of(each.image, present=each.image_present),
            "yes" if each.built_in else "",
            text(each.digest[:12]),
            text(each.description, 60),
        ]
        for each in agents
    ]
    app.out.print(table(["AGENT", "VERSION", "IMAGE", "BUILT IN", "DIGEST", "DESCRIPTION"], rows))


@command(cli, "new", examples="  swarm agent new greeter\n  swarm agent new greeter ./agents/greeter")
@click.argument("name")
@click.argument("folder", default=None, required=False, type=click.Path(path_type=Path))
async def new(app: App, name: str, folder: Path | None) -> None:
    """Write a small agent that runs at once into a folder; default: one of its name."""
    written = scaffold(name, folder or Path(name))
    if app.as_json:
        app.emit({"name": name, "files": [str(path) for path in written]})
        return
    for path in written:
        app.out.print(text(str(path)), highlight=False)
    app.note(f"try it: swarm agent test {text(str(folder or name))}")


@command(cli, "publish", examples="  swarm agent publish ./my-agent")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
async def publish(app: App, folder: Path) -> None:
    """Register an agent folder under the name and version of its manifest."""
    async with app.client() as client:
        agent = await client.registry.publish(bundle(folder))
    if app.as_json:
        app.emit(to_dict(agent))
    else:
        app.out.print(f"{agent.name}@{agent.version}  {agent.digest[:12]}", highlight=False)


@command(cli, "test", examples='  swarm agent test ./my-agent --input \'{"message": "hello"}\'')
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--input", "input_text", default="{}", help="The agent's input, JSON.")
@click.option("--project", default="", help="Project whose repository is checked out; default: none.")
async def test(app: App, folder: Path, input_text: str, project: str) -> None:
    """Run an agent folder once in a VM and print what it says; exit 8 if it fails."""
    spec = TicketSpec(title=f"Test of agent {folder.resolve().name}", project_id=project, tags=["agent-test"])
    try:
        ParseDict({"input": json.loads(input_text)}, spec)
    except (ValueError, ParseError) as error:
        raise InvalidArgumentError(f"--input: {error}") from None
    async with app.client() as client:
        agent = await client.registry.publish(bundle(folder))
        spec.agent = f"{agent.name}@{agent.version}"
        if agent.external:
            # Its ticket would wait for a program that nobody starts here.
            then = f"file a ticket with --agent {agent.name}, then `swarm ticket claim --agent {agent.name}`"
            raise InvalidArgumentError(f"{spec.agent} is published, but external: no VM runs it; {then}")
        (ticket,) = await follow(app, client, [await client.tickets.create(spec)])
        if not app.as_json:
            await recorded(app, client, ticket.id, LOGS)
    if app.as_json:
        app.emit({"agent": to_dict(agent), "ticket": to_dict(ticket)})
    if ticket.state in GONE_WRONG:
        raise SystemExit(WORK_FAILED)


def bundle(folder: Path) -> bytes:
    """The folder as a tar: only plain files and folders, sorted, without owners and times."""
    if not (folder / "agent.json").is_file():
        raise InvalidArgumentError(f"{folder} has no agent.json")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts:
                archive.addfile(_entry(folder, path), io.BytesIO(path.read_bytes()))
    return packed.getvalue()


def _entry(folder: Path, path: Path) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(str(path.relative_to(folder)))
    entry.size = path.stat().st_size
    entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
    return entry


agent_live.register(cli)
