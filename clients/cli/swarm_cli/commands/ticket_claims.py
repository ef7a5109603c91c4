"""`swarm ticket claim|heartbeat|complete`: what a shell script needs to be an agent with a sandbox of its own."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence

import click
from google.protobuf.json_format import ParseDict, ParseError

from swarm_cli.context import App, command
from swarm_cli.render import paint, text
from swarm_sdk.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from swarm_sdk.types import Claim, ClaimEvent, name_of, to_dict

LONGEST_WAIT_S = 60.0
EVENTS = ("log", "progress", "usage", "question")

_fence = click.option("--fence", type=click.IntRange(1), required=True, help="That of the claim.")


@click.option("--agent", "agents", multiple=True, metavar="NAME", help="External agent; may be repeated. Default: any.")
@click.option("--project", default="", help="Only tickets of this project (id).")
@click.option("--tag", "tags", multiple=True, help="Only tickets with all of these.")
@click.option("--lease", type=click.FloatRange(0), default=60, show_default=True, help="Seconds between heartbeats.")
@click.option("--wait", type=click.FloatRange(0), default=0, help="Seconds to wait for a ticket.")
@click.option("--worker", default="", help="Name of this worker; default: that of this machine.")
async def claim(
    app: App, agents: Sequence[str], project: str, tags: Sequence[str], lease: float, wait: float, worker: str
) -> None:
    """Take the next ticket of an external agent; exit 3 when there is none."""
    async with app.client() as client:
        while True:
            found = await client.tickets.claim(
                agents,
                project_id=project,
                tags=tags,
                lease_s=lease,
                wait_s=min(wait, LONGEST_WAIT_S),
                worker=worker or platform.node()[:100],
            )
            wait -= LONGEST_WAIT_S
            if found or wait <= 0:
                break
    if found is None:
        raise NotFoundError("no ticket is ready for an external agent; try again, or wait with --wait SECONDS")
    if app.as_json:
        app.emit(to_dict(found))
    else:
        _tell(app, found)


def _tell(app: App, found: Claim) -> None:
    ticket = found.ticket
    app.out.print(f"[bold]{ticket.key}[/]  {text(ticket.spec.title)}  fence {found.fence}", highlight=False)
    facts = {
        "clone": found.git_url,
        "push to": found.push_ref,
        "conflicts": " ".join(found.conflicts),
        "merge first": " ".join(found.merge_heads),
        "tests": found.test_command,
    }
    for name, value in facts.items():
        if value:
            app.out.print(f"  [dim]{name:12}[/] {text(value)}", highlight=False, soft_wrap=True)
    for line in (*ticket.spec.description.splitlines(), *(f"- {each}" for each in ticket.spec.acceptance_criteria)):
        app.out.print(f"  {text(line)}", highlight=False)
    app.note(f"keep it: swarm ticket heartbeat {ticket.key} --fence {found.fence}")


@click.argument("ident", metavar="ID")
@_fence
@click.option("--log", "logs", multiple=True, metavar="TEXT", help="A line for the ticket's log; may be repeated.")
@click.option("--event", type=click.Choice(EVENTS), default=None, help="One event with --text and --data.")
@click.option("--text", "words", default="", help="Of the event.")
@click.option("--data", default="{}", help="Of the event, JSON.")
@click.option("--answers-after", type=click.IntRange(0), default=0, help="Number of the last answer already seen.")
async def heartbeat(
    app: App,
    ident: str,
    fence: int,
    logs: Sequence[str],
    event: str | None,
    words: str,
    data: str,
    answers_after: int,
) -> None:
    """Keep a claimed ticket and say what its agent does; exit 5 when it is no longer yours: stop then."""
    events = [ClaimEvent(type="log", text=line) for line in logs]
    if event:
        events.append(_event(event, words, data))
    async with app.client() as client:
        beat = await client.tickets.heartbeat(ident, fence, events, answer_cursor=answers_after)
    if app.as_json:
        app.emit(to_dict(beat))
        return
    for answer in beat.answers:
        app.out.print(f"answer {answer.seq}  {text(answer.text)}", highlight=False)
    if beat.events_dropped:
        app.note(f"[yellow]{beat.events_dropped} events were dropped: the attempt has said too much[/]")


def _event(kind: str, words: str, data: str) -> ClaimEvent:
    try:
        return ParseDict({"type": kind, "text": words, "data": json.loads(data)}, ClaimEvent())
    except (ValueError, ParseError) as error:
        raise InvalidArgumentError(f"--data: {error}") from None


@click.argument("ident", metavar="ID")
@_fence
@click.option("--head", default="", help="Full id of the commit that was pushed; without it: nothing to change.")
@click.option("--failed", is_flag=True, help="It did not work; the ticket is tried again.")
@click.option("--summary", default="", help="What was done, or why it failed.")
@click.option("--cause", default="", help="Of a failure: agent_crashed, tests_failed, timeout, ...")
async def complete(app: App, ident: str, fence: int, head: str, failed: bool, summary: str, cause: str) -> None:
    """End a claimed ticket: what was pushed is scanned, goes upstream and becomes a pull request."""
    if failed and head:
        raise InvalidArgumentError("--failed and --head do not go together: what failed is not taken")
    async with app.client() as client:
        try:
            done = await client.tickets.complete(ident, fence, ok=not failed, head=head, summary=summary, cause=cause)
        except FailedPreconditionError as error:
            if error.reason == "scan_refused":
                app.note("take it out of every commit (git commit --amend), push, and complete again")
            raise
    if app.as_json:
        app.emit(to_dict(done))
        return
    for finding in done.findings:
        app.note(text(finding))
    ticket = done.ticket
    app.out.print(f"{ticket.key}  {paint(name_of(ticket, 'state'))}  {text(ticket.spec.title)}", highlight=False)


def register(group: click.Group) -> None:
    """Adds the three to `swarm ticket`."""
    command(
        group,
        "claim",
        examples="  swarm ticket claim --agent porter --wait 60 --json\n  swarm ticket claim --project pj_1 --tag gpu",
    )(claim)
    command(
        group,
        "heartbeat",
        examples="  swarm ticket heartbeat TKT-003 --fence 1 --log 'tests pass'\n"
        "  swarm ticket heartbeat TKT-003 --fence 1 --event question --text 'Which database?'",
    )(heartbeat)
    command(
        group,
        "complete",
        examples='  swarm ticket complete TKT-003 --fence 1 --head "$(git rev-parse HEAD)"\n'
        "  swarm ticket complete TKT-003 --fence 1 --failed --cause tests_failed",
    )(complete)
