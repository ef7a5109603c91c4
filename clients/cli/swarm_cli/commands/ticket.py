"""`swarm ticket ...`."""

from __future__ import annotations

from collections.abc import Sequence

import click
from google.protobuf.json_format import ParseDict, ParseError

from swarm_cli.attempts import show_attempts
from swarm_cli.commands import ticket_changes, ticket_claims
from swarm_cli.context import App, command
from swarm_cli.follow import follow
from swarm_cli.inputs import read_json
from swarm_cli.logs import LOGS, stream
from swarm_cli.render import TICKET_COLUMNS, paint, seconds, table, text, ticket_rows
from swarm_cli.steps import run_table
from swarm_sdk.errors import InvalidArgumentError, SwarmError
from swarm_sdk.types import Resources, Ticket, TicketSpec, TicketState, TicketType, name_of, to_dict

STATES = [name.removeprefix("TICKET_STATE_").lower() for name in TicketState.keys()[1:]]  # no dict
TYPES = ["feature", "task", "bug"]
ORDERS = ["key", "priority", "created_at", "updated_at"]


@click.group()
def cli() -> None:
    """File, list, follow and answer tickets. ID is a key such as TKT-001, or an id."""


@command(
    cli,
    "create",
    examples="  swarm ticket create 'Fix the parser' --project pj_1 --agent shell \\\n"
    '    --input \'{"script": "sed -i s/a/b/ parser.py"}\' --after TKT-002 --follow',
)
@click.argument("title")
@click.option("--description", default="")
@click.option("--type", "kind", type=click.Choice(TYPES), default="task", show_default=True)
@click.option("--project", default="", help="Project id; without one the ticket has no repository.")
@click.option("--after", multiple=True, metavar="ID", help="Ticket that has to be done first; may be repeated.")
@click.option("--agent", default="", help="Agent, as NAME or NAME@VERSION.")
@click.option("--workflow", default="", help="Workflow instead of an agent, as NAME or NAME@VERSION.")
@click.option("--tag", "tags", multiple=True, help="May be repeated.")
@click.option("--input", "input_text", default="{}", help="Input of the agent, or one object per step: JSON, or @FILE.")
@click.option("--priority", type=click.IntRange(0, 9), default=5, show_default=True, help="0 is the most urgent.")
@click.option("--vcpus", type=click.IntRange(0, 32), default=0)
@click.option("--memory", "memory_mib", type=click.IntRange(0), default=0, help="MiB.")
@click.option("--disk", "disk_mib", type=click.IntRange(0), default=0, help="MiB.")
@click.option("--timeout", "timeout_s", type=click.IntRange(1), help="Seconds that one attempt may take.")
@click.option("--stall-timeout", "stall_s", type=click.IntRange(0), help="Seconds without progress; 0: never mind.")
@click.option("--hold", is_flag=True, help="Keep it pending until it is released.")
@click.option("--follow", "following", is_flag=True)
async def create(
    app: App,
    title: str,
    description: str,
    kind: str,
    project: str,
    after: Sequence[str],
    agent: str,
    workflow: str,
    tags: Sequence[str],
    input_text: str,
    priority: int,
    vcpus: int,
    memory_mib: int,
    disk_mib: int,
    timeout_s: int | None,
    stall_s: int | None,
    hold: bool,
    following: bool,
) -> None:
    """File one ticket."""
    spec = TicketSpec(
        title=title,
        description=description,
        type=TicketType.Value(f"TICKET_TYPE_{kind.upper()}"),
        project_id=project,
        depends_on=after,
        agent=agent,
        workflow=workflow,
        tags=tags,
        priority=priority,
        resources=Resources(vcpus=vcpus, memory_mib=memory_mib, disk_mib=disk_mib),
        timeout=seconds(timeout_s),
        stall_timeout=seconds(stall_s),
    )
    _read_input(input_text, spec)
    async with app.client() as client:
        ticket = await client.tickets.create(spec, hold=hold)
        if following and not hold:
            (ticket,) = await follow(app, client, [ticket])
    _show_one(app, ticket)


def _read_input(source: str, spec: TicketSpec) -> None:
    try:
        ParseDict({"input": read_json(source, "--input")}, spec)
    except (ValueError, ParseError) as error:
        raise InvalidArgumentError(f"--input: {error}") from None


@command(
    cli,
    "list",
    examples="  swarm ticket list --state running --state waiting\n  swarm ticket list --dead-letter\n"
    "  swarm ticket list --search parser --order updated_at --reverse\n"
    "  swarm ticket list --json",
)
@click.option("--state", "states", multiple=True, type=click.Choice(STATES))
@click.option("--project", default="", help="Only of this project (id).")
@click.option("--epic", default="", help="Only children of this epic (id).")
@click.option("--tag", default="")
@click.option("--assignee", default="")
@click.option("--search", default="", help="Part of the key, the title or the description.")
@click.option("--dead-letter", is_flag=True, help="Only those that used up their attempts.")
@click.option("--order", type=click.Choice(ORDERS), default="key", show_default=True)
@click.option("--reverse", is_flag=True)
@click.option("--limit", type=click.IntRange(0), default=0, help="0: all.")
async def list_(
    app: App,
    states: Sequence[str],
    project: str,
    epic: str,
    tag: str,
    assignee: str,
    search: str,
    dead_letter: bool,
    order: str,
    reverse: bool,
    limit: int,
) -> None:
    """List tickets."""
    chosen = [TicketState.Value(f"TICKET_STATE_{state.upper()}") for state in states]
    async with app.client() as client:
        tickets = await client.tickets.list(
            states=chosen,
            project_id=project,
            parent_id=epic,
            tag=tag,
            assignee=assignee,
            query=search,
            dead_letter=dead_letter,
            order_by=f"{order} desc" if reverse else order,
            limit=limit,
        )
    if app.as_json:
        app.emit([to_dict(ticket) for ticket in tickets])
    elif tickets:
        app.out.print(table(TICKET_COLUMNS, ticket_rows(tickets)))
    elif dead_letter:
        app.note("no dead letters")
    else:
        app.note("no tickets; file some with `swarm run --spec CARD --repo URL`")


@command(cli, "show", examples="  swarm ticket show TKT-003")
@click.argument("ident", metavar="ID")
async def show(app: App, ident: str) -> None:
    """Show one ticket with its attempts, and of a workflow the steps of each."""
    async with app.client() as client:
        ticket = await client.tickets.get(ident)
        attempts = await client.tickets.attempts(ident)
        runs = await client.registry.runs(ticket.id) if ticket.spec.workflow else ()
    if app.as_json:
        listed = {"attempt_list": [to_dict(attempt) for attempt in attempts], "runs": [to_dict(run) for run in runs]}
        app.emit(to_dict(ticket) | listed)
        return
    _describe(app, ticket)
    show_attempts(app, attempts)
    if runs:
        app.out.print(run_table(runs))
    if ticket.dead_letter:
        app.note(f"a dead letter; once its cause is gone: swarm ticket requeue {ticket.key}")


@command(cli, "attempts", examples="  swarm ticket attempts TKT-003\n  swarm ticket attempts TKT-003 --json")
@click.argument("ident", metavar="ID")
async def attempts_(app: App, ident: str) -> None:
    """Show what became of each attempt, why, and what to do."""
    async with app.client() as client:
        attempts = await client.tickets.attempts(ident)
    if app.as_json:
        app.emit([to_dict(attempt) for attempt in attempts])
    else:
        show_attempts(app, attempts)


def _describe(app: App, ticket: Ticket) -> None:
    spec = ticket.spec
    facts = {
        "type": name_of(spec, "type"),
        "mode": name_of(ticket, "execution_mode"),
        "agent": spec.agent,
        "workflow": spec.workflow,
        "project": spec.project_id,
        "parent": spec.parent_id,
        "depends on": " ".join(spec.depends_on),
        "tags": " ".join(spec.tags),
        "pull request": ticket.pull_request_id,
        "reason": ticket.state_reason,
        "question": ticket.question,
        "causes": "; ".join(ticket.causes),
    }
    app.out.print(f"[bold]{ticket.key}[/]  {text(spec.title)}  {paint(name_of(ticket, 'state'))}", highlight=False)
    for name, value in facts.items():
        if value:
            app.out.print(f"  [dim]{name:12}[/] {text(value)}", highlight=False)
    for line in spec.description.splitlines():
        app.out.print(f"  {text(line)}", highlight=False)
    for each in spec.acceptance_criteria:
        app.out.print(f"  - {text(each)}", highlight=False)


@command(cli, "logs", examples="  swarm ticket logs TKT-003 --follow\n  swarm ticket logs TKT-003 --tail 20")
@click.argument("ident", metavar="ID")
@click.option("--tail", type=click.IntRange(0, 1000), default=0, help="Only the newest so many lines.")
@click.option("--follow", "following", is_flag=True, help="Go on until the ticket has settled.")
async def logs(app: App, ident: str, tail: int, following: bool) -> None:
    """Print what the agent said."""
    await stream(app, ident, LOGS, tail, following=following)


@command(cli, "events", examples="  swarm ticket events TKT-003 --json")
@click.argument("ident", metavar="ID")
@click.option("--tail", type=click.IntRange(0, 1000), default=0)
@click.option("--follow", "following", is_flag=True)
async def events(app: App, ident: str, tail: int, following: bool) -> None:
    """Print every event of a ticket: states, attempts, logs, blocked calls."""
    await stream(app, ident, (), tail, following=following)


@command(cli, "retry", examples="  swarm ticket retry TKT-003")
@click.argument("ident", metavar="ID")
async def retry(app: App, ident: str) -> None:
    """Give a failed or cancelled ticket new attempts."""
    async with app.client() as client:
        _show_one(app, await client.tickets.retry(ident))


@command(cli, "requeue", examples="  swarm ticket requeue TKT-003 TKT-007\n  swarm ticket requeue --all-dead-letters")
@click.argument("idents", metavar="[ID]...", nargs=-1)
@click.option("--all-dead-letters", "every", is_flag=True, help="Every ticket that used up its attempts.")
async def requeue(app: App, idents: Sequence[str], every: bool) -> None:
    """Give dead letters, or other failed or cancelled tickets, new attempts."""
    if every == bool(idents):
        raise click.UsageError("name tickets, or --all-dead-letters")
    done: list[Ticket] = []
    async with app.client() as client:
        chosen = [each.key for each in await client.tickets.list(dead_letter=True)] if every else idents
        try:
            async for ticket in client.tickets.requeue(chosen):
                done.append(ticket)  # noqa: PERF401  # what was done before an error is shown
        except SwarmError:
            if done:
                _show_all(app, done)
            raise
    _show_all(app, done)


def _show_all(app: App, tickets: Sequence[Ticket]) -> None:
    if app.as_json:
        app.emit([to_dict(ticket) for ticket in tickets])
    elif not tickets:
        app.note("nothing was requeued")
    for ticket in () if app.as_json else tickets:
        _show_one(app, ticket)


@command(cli, "cancel", examples="  swarm ticket cancel TKT-003 --reason 'no longer wanted'")
@click.argument("ident", metavar="ID")
@click.option("--reason", default="")
async def cancel(app: App, ident: str, reason: str) -> None:
    """Stop a ticket; its VM is destroyed."""
    async with app.client() as client:
        _show_one(app, await client.tickets.cancel(ident, reason))


@command(cli, "release", examples="  swarm ticket release TKT-003")
@click.argument("ident", metavar="ID")
async def release(app: App, ident: str) -> None:
    """Let a held ticket go."""
    async with app.client() as client:
        _show_one(app, await client.tickets.release(ident))


@command(cli, "answer", examples="  swarm ticket answer TKT-003 'Use PostgreSQL'")
@click.argument("ident", metavar="ID")
@click.argument("answer")
async def answer_(app: App, ident: str, answer: str) -> None:
    """Answer the question that a ticket waits for."""
    async with app.client() as client:
        _show_one(app, await client.tickets.answer(ident, answer))


def _show_one(app: App, ticket: Ticket) -> None:
    if app.as_json:
        app.emit(to_dict(ticket))
    else:
        app.out.print(f"{ticket.key}  {paint(name_of(ticket, 'state'))}  {text(ticket.spec.title)}", highlight=False)


ticket_claims.register(cli)
ticket_changes.register(cli)
