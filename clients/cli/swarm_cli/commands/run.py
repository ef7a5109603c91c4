"""`swarm run`: a spec card in, pull requests out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from swarm_cli.commands.pr import show_list
from swarm_cli.commands.project import absolute
from swarm_cli.context import WORK_FAILED, App, command
from swarm_cli.follow import Watch, follow
from swarm_cli.render import counted, text
from swarm_sdk.client import Client
from swarm_sdk.errors import FieldViolation, InvalidArgumentError
from swarm_sdk.types import PullRequest, Ticket, TicketState, to_dict

LARGEST_CARD = 4 << 20


@click.group()
def _root() -> None: ...


@command(
    _root,
    "run",
    examples="  swarm run --spec card.json --repo /srv/git/project.git --follow\n"
    "  swarm run --spec card.json --repo ssh://git@host/project.git --agent shell\n"
    "  swarm run --spec card.json --check",
)
@click.option(
    "--spec", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Spec card, JSON."
)
@click.option("--repo", default="", help="Repository: http(s), ssh or file URL, or a path. Default: the card's.")
@click.option("--project", default="", help="File under this project (id) instead of the repository's.")
@click.option("--agent", default="", help="Agent for features that name none.")
@click.option("--hold", is_flag=True, help="Keep the tickets pending until they are released.")
@click.option("--check", is_flag=True, help="Only check the card; create nothing.")
@click.option("--follow", "following", is_flag=True, help="Watch until every ticket has settled; exit 8 if one failed.")
async def cli(
    app: App,
    spec: Path,
    repo: str,
    project: str,
    agent: str,
    hold: bool,
    check: bool,
    following: bool,
) -> None:
    """Create an epic and one ticket per feature of a spec card, and run them."""
    card = load(spec)
    async with app.client() as client:
        made = await client.tickets.import_spec(
            card, project_id=project, repository=absolute(repo), agent=agent, hold=hold, validate_only=check
        )
        tickets = list(made.tickets)
        verb = "would create" if check else "created"
        app.note(f"{verb} {made.epic.key or 'an epic'} with {counted(len(tickets), 'ticket')}")
        if following and not (check or hold):
            tickets = await follow(app, client, tickets)
        opened = await _pull_requests(client, tickets)
    _finish(app, made.epic, tickets, opened)


def load(path: Path) -> dict[str, Any]:
    """The card in a file; what is wrong with it is told as the server would tell it."""
    if path.stat().st_size > LARGEST_CARD:
        raise InvalidArgumentError(f"{path} is larger than {LARGEST_CARD >> 20} MiB")
    try:
        card = json.loads(path.read_bytes(), parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{path} is not JSON: {error}") from None
    if not isinstance(card, dict):
        raise InvalidArgumentError(
            "a spec card is a JSON object", violations=(FieldViolation("", "must be an object"),)
        )
    return card


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return made


async def _pull_requests(client: Client, tickets: list[Ticket]) -> list[PullRequest]:
    return [await client.pull_requests.get(each.pull_request_id) for each in tickets if each.pull_request_id]


def _finish(app: App, epic: Ticket, tickets: list[Ticket], opened: list[PullRequest]) -> None:
    failed = Watch({ticket.id: ticket for ticket in tickets}).failed()
    if app.as_json:
        rows = {"tickets": [to_dict(each) for each in tickets], "pull_requests": [to_dict(each) for each in opened]}
        app.emit({"epic": to_dict(epic)} | rows)
    elif opened:
        show_list(app, opened)
    for ticket in failed:
        why = ticket.state_reason or "; ".join(ticket.causes) or "no reason given"
        held = " (waits for a ticket that went wrong)" if ticket.state == TicketState.TICKET_STATE_BLOCKED else ""
        app.note(f"[red]{ticket.key}[/] {text(why, 400)}{held}; see: swarm ticket logs {ticket.key}")
    if failed:
        raise SystemExit(WORK_FAILED)
