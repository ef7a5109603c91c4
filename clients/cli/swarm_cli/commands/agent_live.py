"""`swarm agent ps`, `logs`, `pause`, `resume` and `terminate`: what runs now."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import click

from swarm_cli.context import App, command
from swarm_cli.render import ago, paint, table, text
from swarm_sdk.types import LiveAgent, name_of, to_dict

COLUMNS = ("TICKET", "AGENT", "STATE", "HOST", "VM", "BEGAN", "HEARD OF", "SAYS")


@click.option("--project", default="", help="Only of this project (id).")
@click.option("--follow", "following", is_flag=True, help="Go on, and tell what changes.")
async def ps(app: App, project: str, following: bool) -> None:
    """List the agents that run now."""
    async with app.client() as client:
        if not following:
            _show(app, await client.agents.list(project_id=project))
            return
        async with contextlib.aclosing(client.agents.watch(project_id=project)) as changes:
            async for change in changes:
                if app.as_json:
                    app.emit(to_dict(change))
                    continue
                if change.agents:
                    _show(app, change.agents)
                for ident in change.ended:
                    app.out.print(f"{text(ident)}  ended", highlight=False)


def _show(app: App, agents: Sequence[LiveAgent]) -> None:
    if app.as_json:
        app.emit([to_dict(agent) for agent in agents])
    elif agents:
        app.out.print(table(COLUMNS, map(_row, agents)))
    else:
        app.note("no agent runs now")


def _row(agent: LiveAgent) -> list[str]:
    return [
        agent.ticket_key,
        text(agent.agent),
        paint(name_of(agent, "state")),
        text(agent.host_name),
        agent.vm_id[:11],
        ago(agent.assigned_at),
        ago(agent.last_activity_at),
        text(agent.question or agent.progress or agent.last_log, 60),
    ]


@click.argument("ident", metavar="ID")
@click.option("--tail", type=click.IntRange(1, 1000), default=20, show_default=True)
async def logs(app: App, ident: str, tail: int) -> None:
    """Print the last lines of an agent."""
    async with app.client() as client:
        lines = await client.agents.logs(ident, tail=tail)
    if app.as_json:
        app.emit([to_dict(line) for line in lines])
        return
    for line in lines:
        when = line.time.ToDatetime().strftime("%H:%M:%S")
        app.out.print(f"[dim]{when}[/] {text(line.text)}", highlight=False)


@click.argument("ident", metavar="ID")
async def pause(app: App, ident: str) -> None:
    """Pause the VM of an agent."""
    async with app.client() as client:
        _show(app, [await client.agents.pause(ident)])


@click.argument("ident", metavar="ID")
async def resume(app: App, ident: str) -> None:
    """Let a paused agent go on."""
    async with app.client() as client:
        _show(app, [await client.agents.resume(ident)])


@click.argument("ident", metavar="ID")
async def terminate(app: App, ident: str) -> None:
    """Destroy the VM of an agent; its ticket is placed again."""
    async with app.client() as client:
        await client.agents.terminate(ident)
    if app.as_json:
        app.emit({"terminated": ident})
    else:
        app.out.print(f"{text(ident)}  terminated", highlight=False)


def register(group: click.Group) -> None:
    """Adds the five to `swarm agent`; ID is a ticket, or the id of an attempt."""
    command(group, "ps", examples="  swarm agent ps\n  swarm agent ps --follow --json")(ps)
    command(group, "logs", examples="  swarm agent logs TKT-003 --tail 50")(logs)
    command(group, "pause", examples="  swarm agent pause TKT-003")(pause)
    command(group, "resume", examples="  swarm agent resume TKT-003")(resume)
    command(group, "terminate", examples="  swarm agent terminate TKT-003")(terminate)
