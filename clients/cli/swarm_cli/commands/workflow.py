"""`swarm workflow ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from google.protobuf.json_format import ParseDict, ParseError

from swarm_cli.commands.project import absolute
from swarm_cli.context import WORK_FAILED, App, command
from swarm_cli.follow import GONE_WRONG, follow
from swarm_cli.inputs import read_json
from swarm_cli.render import table, text
from swarm_cli.steps import drawing, image_of, run_table, step_table
from swarm_sdk.client import Client
from swarm_sdk.errors import InvalidArgumentError
from swarm_sdk.types import MappingRule, ProjectSpec, TicketSpec, to_dict


@click.group()
def cli() -> None:
    """List, run and publish workflows: steps that are agent runs in one VM."""


@command(cli, "list", examples="  swarm workflow list")
async def list_(app: App) -> None:
    """List registered workflows."""
    async with app.client() as client:
        workflows = await client.registry.workflows()
    if app.as_json:
        app.emit([to_dict(workflow) for workflow in workflows])
        return
    rows = [
        [
            text(each.name),
            text(each.version),
            image_of(each.needs_image, present=each.image_present),
            "yes" if each.built_in else "",
            text(" > ".join(step.name for step in each.steps)),
            text(each.description, 80),
        ]
        for each in workflows
    ]
    app.out.print(table(["WORKFLOW", "VERSION", "IMAGE", "BUILT IN", "STEPS", "DESCRIPTION"], rows))


@command(cli, "show", examples="  swarm workflow show script\n  swarm workflow show script@1.0.0 --json")
@click.argument("name")
async def show(app: App, name: str) -> None:
    """Show a workflow and draw its steps."""
    async with app.client() as client:
        workflow = await client.registry.workflow(name)
    if app.as_json:
        app.emit(to_dict(workflow))
        return
    app.out.print(f"[bold]{workflow.name}@{workflow.version}[/]  {text(workflow.description)}", highlight=False)
    app.out.print(f"image {image_of(workflow.needs_image, present=workflow.image_present)}\n", highlight=False)
    for line in drawing(workflow.steps):
        app.out.print(f"  {text(line)}", highlight=False)
    app.out.print()
    app.out.print(step_table(workflow))


@command(
    cli,
    "run",
    examples="  swarm workflow run script --repo /srv/git/shelf.git --title 'Rename a file' \\\n"
    '    --input \'{"prepare": {"script": "git mv a b"}, "verify": {"script": "test -f b"}}\' --follow',
)
@click.argument("name")
@click.option("--repo", default="", help="Repository: http(s), ssh or file URL, or a path.")
@click.option("--project", default="", help="Project id instead of a repository.")
@click.option("--title", default="", help="Title of the ticket; default: the workflow's name.")
@click.option("--description", default="")
@click.option("--input", "input_text", default="{}", help="One object per step, JSON, or @FILE.")
@click.option("--follow", "following", is_flag=True, help="Watch until the ticket has settled; exit 8 if it failed.")
async def run(
    app: App, name: str, repo: str, project: str, title: str, description: str, input_text: str, following: bool
) -> None:
    """File a ticket that the workflow NAME runs."""
    spec = TicketSpec(title=title or f"Workflow {name}", description=description, workflow=name)
    _fill(spec, {"input": read_json(input_text, "--input")}, "--input")
    async with app.client() as client:
        spec.project_id = project or await _project(client, absolute(repo))
        ticket = await client.tickets.create(spec)
        if following:
            (ticket,) = await follow(app, client, [ticket])
        runs = await client.registry.runs(ticket.id)
    if app.as_json:
        app.emit({"ticket": to_dict(ticket), "runs": [to_dict(each) for each in runs]})
    else:
        app.note(f"{ticket.key} runs {text(ticket.spec.workflow)}; see: swarm ticket show {ticket.key}")
        if runs:
            app.out.print(run_table(runs))
    if following and ticket.state in GONE_WRONG:
        raise SystemExit(WORK_FAILED)


async def _project(client: Client, repository: str) -> str:
    """The project of a repository, made if need be; none without a repository."""
    if not repository:
        return ""
    for project in await client.projects.list():
        if project.spec.repository == repository:
            return project.id
    name = Path(repository.rstrip("/")).stem or "project"
    return (await client.projects.create(ProjectSpec(name=name, repository=repository))).id


def _fill(spec: Any, value: dict[str, Any], option: str) -> None:
    try:
        ParseDict(value, spec)
    except (ValueError, ParseError) as error:
        raise InvalidArgumentError(f"{option}: {error}") from None


@command(cli, "publish", examples="  swarm workflow publish ./workflow.json")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
async def publish(app: App, file: Path) -> None:
    """Register the workflow in FILE."""
    async with app.client() as client:
        workflow = await client.registry.publish_workflow(read_json(f"@{file}", str(file)))
    if app.as_json:
        app.emit(to_dict(workflow))
    else:
        app.out.print(f"{workflow.name}@{workflow.version}  {workflow.digest[:12]}", highlight=False)


@command(cli, "runs", examples="  swarm workflow runs\n  swarm workflow runs TKT-003 --json")
@click.argument("ticket", default="")
@click.option("--limit", type=click.IntRange(0), default=0, help="0: all.")
async def runs_(app: App, ticket: str, limit: int) -> None:
    """List runs with their steps, of one ticket or all."""
    async with app.client() as client:
        found = await client.registry.runs(ticket, limit=limit)
    if app.as_json:
        app.emit([to_dict(each) for each in found])
    elif found:
        app.out.print(run_table(found))
    else:
        app.note("no runs; start one with `swarm workflow run NAME`")


@command(
    cli,
    "mapping",
    examples="  swarm workflow mapping\n"
    '  swarm workflow mapping --set \'[{"type": "TICKET_TYPE_BUG", "workflow": "bugfix"}]\'\n'
    "  swarm workflow mapping --set @rules.json",
)
@click.option("--set", "rules_text", default="", help="New rules: a JSON list, or @FILE.")
async def mapping(app: App, rules_text: str) -> None:
    """Show or set what runs a ticket that names neither agent nor workflow; the first rule that fits counts."""
    rules: list[MappingRule] = []
    given = read_json(rules_text, "--set", kind=list) if rules_text else []
    for each in given:
        rules.append(MappingRule())
        _fill(rules[-1], each, "--set")
    async with app.client() as client:
        found = await (client.registry.set_mapping(rules) if rules_text else client.registry.mapping())
    if app.as_json:
        app.emit([to_dict(rule) for rule in found])
        return
    rows = [
        [
            to_dict(rule)["type"].removeprefix("TICKET_TYPE_").lower().replace("unspecified", "any"),
            text(" ".join(rule.tags)),
            text(rule.project_id),
            text(f"workflow {rule.workflow}" if rule.workflow else f"agent {rule.agent}"),
        ]
        for rule in found
    ]
    app.out.print(table(["TYPE", "TAGS", "PROJECT", "RUNS"], rows))
