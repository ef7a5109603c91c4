"""`swarm pr ...`."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.markdown import Markdown
from rich.syntax import Syntax

from swarm_cli.context import App, command
from swarm_cli.render import paint, table, text, visible
from swarm_sdk.types import PullRequest, PullRequestState, name_of, to_dict

STATES = ["open", "merged", "closed"]


@click.group()
def cli() -> None:
    """List, read and merge pull requests. ID is that of the pull request, or its ticket's key."""


@command(cli, "list", examples="  swarm pr list --state open")
@click.option("--state", type=click.Choice(STATES), default=None)
@click.option("--project", default="", help="Only of this project (id).")
@click.option("--limit", type=click.IntRange(0), default=0)
async def list_(app: App, state: str | None, project: str, limit: int) -> None:
    """List pull requests."""
    wanted = PullRequestState.Value(f"PULL_REQUEST_STATE_{(state or 'unspecified').upper()}")
    async with app.client() as client:
        found = await client.pull_requests.list(project_id=project, state=wanted, limit=limit)
    if app.as_json:
        app.emit([to_dict(each) for each in found])
    else:
        show_list(app, found)


def show_list(app: App, found: Sequence[PullRequest]) -> None:
    """The table of pull requests."""
    rows = [
        [
            f"#{each.number}",
            each.ticket_key,
            text(each.title, 40),
            paint(name_of(each, "state")),
            f"{text(each.head_branch)} → {text(each.base_branch)}",
            f"[green]+{each.additions}[/] [red]-{each.deletions}[/]",
            str(each.changed_files),
        ]
        for each in found
    ]
    app.out.print(table([">PR", "TICKET", "TITLE", "STATE", "BRANCH", ">LINES", ">FILES"], rows))


@command(cli, "show", examples="  swarm pr show TKT-002\n  swarm pr show TKT-002 --diff")
@click.argument("ident", metavar="ID")
@click.option("--diff", is_flag=True, help="Print the diff alone.")
async def show(app: App, ident: str, diff: bool) -> None:
    """Show one pull request with its description and its diff."""
    async with app.client() as client:
        found = await client.pull_requests.get(ident)
        patch, truncated = await client.pull_requests.diff(found.id)
    words = patch.decode("utf-8", errors="replace")
    if app.as_json:
        app.emit(to_dict(found) | {"diff": words, "diff_truncated": truncated})
        return
    if not diff:
        show_list(app, [found])
        app.out.print(Markdown(visible(found.body)) if app.out.is_terminal else text_lines(found.body))
    shown = Syntax(visible(words), "diff", background_color="default") if app.out.is_terminal else text_lines(words)
    app.out.print(shown)
    if truncated:
        app.note("the diff is longer than what is shown")


def text_lines(words: str) -> str:
    """Lines from outside for a pipe: no markup; control characters other than tabs made visible."""
    return "\n".join(text(line.replace("\t", "    ")) for line in words.splitlines())


@command(cli, "merge", examples="  swarm pr merge TKT-002\n  swarm pr merge TKT-001 TKT-002 TKT-003")
@click.argument("idents", metavar="ID...", nargs=-1, required=True)
async def merge(app: App, idents: Sequence[str]) -> None:
    """Merge pull requests in the order given, or say where one conflicts."""
    merged = []
    async with app.client() as client:
        for ident in idents:
            merged.append(await client.pull_requests.merge(ident))
            app.note(
                f"merged {merged[-1].ticket_key} into {text(merged[-1].base_branch)}: {merged[-1].merge_commit[:12]}"
            )
    if app.as_json:
        app.emit([to_dict(each) for each in merged])


@command(cli, "close", examples="  swarm pr close TKT-002")
@click.argument("ident", metavar="ID")
async def close(app: App, ident: str) -> None:
    """Close a pull request without merging it; its ticket fails."""
    async with app.client() as client:
        closed = await client.pull_requests.close(ident)
    if app.as_json:
        app.emit(to_dict(closed))
    else:
        app.note(f"closed {closed.ticket_key}")
