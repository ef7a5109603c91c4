"""`swarm project ...`."""

from __future__ import annotations

from pathlib import Path

import click

from swarm_cli.context import App, command
from swarm_cli.render import seconds, table, text
from swarm_sdk.types import CompleteOn, Project, ProjectSpec, name_of, to_dict


@click.group()
def cli() -> None:
    """Create and list projects: a repository and the defaults of its tickets."""


@command(cli, "list", examples="  swarm project list")
async def list_(app: App) -> None:
    """List projects."""
    async with app.client() as client:
        projects = await client.projects.list()
    if app.as_json:
        app.emit([to_dict(project) for project in projects])
        return
    rows = [
        [
            project.id,
            text(project.spec.name, 30),
            text(project.spec.workflow or project.spec.agent),
            text(project.spec.repository),
        ]
        for project in projects
    ]
    app.out.print(table(["PROJECT", "NAME", "RUNS", "REPOSITORY"], rows))


@command(cli, "create", examples="  swarm project create shelf --repo /srv/git/shelf.git --test 'make check'")
@click.argument("name")
@click.option("--repo", default="", help="Repository: http(s), ssh or file URL, or a path.")
@click.option("--branch", default="", help="Default branch; default: what the repository's HEAD names.")
@click.option("--agent", default="", help="Agent of tickets that name none.")
@click.option("--workflow", default="", help="Workflow instead, of tickets that name none.")
@click.option(
    "--test", "test_command", default="", help="Run in the checkout after the agent; failure fails the attempt."
)
@click.option("--max-concurrency", type=click.IntRange(0, 100_000), default=0, help="Tickets at once; 0: no limit.")
@click.option("--stall-timeout", "stall_s", type=click.IntRange(0), help="Seconds without progress; 0: never mind.")
@click.option("--complete-on", type=click.Choice(["merged", "opened"]), default="merged", show_default=True)
async def create(
    app: App,
    name: str,
    repo: str,
    branch: str,
    agent: str,
    workflow: str,
    test_command: str,
    max_concurrency: int,
    stall_s: int | None,
    complete_on: str,
) -> None:
    """Create a project."""
    spec = ProjectSpec(
        name=name,
        repository=absolute(repo),
        default_branch=branch,
        agent=agent,
        workflow=workflow,
        test_command=test_command,
        max_concurrency=max_concurrency,
        stall_timeout=seconds(stall_s),
        complete_on=CompleteOn.Value(f"COMPLETE_ON_{complete_on.upper()}"),
    )
    async with app.client() as client:
        _show(app, await client.projects.create(spec))


def absolute(repository: str) -> str:
    """A path becomes absolute, since the control plane does not know where we stand; a URL stays."""
    if not repository or ":" in repository.partition("/")[0] or repository.startswith("-"):
        return repository
    return str(Path(repository).expanduser().absolute())


def _show(app: App, project: Project) -> None:
    if app.as_json:
        app.emit(to_dict(project))
    else:
        done = name_of(project.spec, "complete_on")
        app.out.print(f"{project.id}  {text(project.spec.name)}  complete when {done}", highlight=False)


@command(cli, "delete", examples="  swarm project delete pj_01j2")
@click.argument("ident", metavar="ID")
async def delete(app: App, ident: str) -> None:
    """Delete a project whose tickets are all over; they stay."""
    async with app.client() as client:
        await client.projects.delete(ident)
    if app.as_json:
        app.emit({"deleted": ident})
    else:
        app.out.print(f"{text(ident)}  deleted", highlight=False)
