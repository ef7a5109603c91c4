"""Events of a ticket as lines."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from swarm_cli.context import App
from swarm_cli.render import text
from swarm_sdk.client import Client
from swarm_sdk.tickets import is_settled
from swarm_sdk.types import Event, to_dict

LOGS = ("agent.log", "agent.log_capped", "agent.phase", "agent.step", "call.blocked")
PAGE = 1000


async def stream(app: App, ident: str, types: Sequence[str], tail: int, *, following: bool) -> None:
    """Events so far, or the newest `tail`; then live ones until the ticket has settled. One JSON document per line."""
    async with app.client() as client:
        cursor = await recorded(app, client, ident, types, tail)
        if not following:
            return
        async with contextlib.aclosing(client.tickets.watch(ident, cursor=cursor)) as answers:
            async for answer in answers:
                for event in answer.events:
                    if not types or event.type in types:
                        show(app, event)
                if is_settled(answer.ticket):
                    return


async def recorded(app: App, client: Client, ident: str, types: Sequence[str], tail: int = 0) -> int:
    """Prints the events so far; answers the number of the last."""
    cursor = 0
    while page := await client.tickets.events(ident, cursor=cursor, types=types, tail=tail, limit=PAGE):
        for event in page:
            show(app, event)
        cursor = page[-1].seq
        if tail:
            break
    return cursor


def show(app: App, event: Event) -> None:
    """One event as one line."""
    data = to_dict(event)
    if app.as_json:
        app.emit(data)
        return
    body = data.get("data") or {}
    if event.type in LOGS:
        words = " ".join(filter(None, (str(body.get("text", "")), _step_state(body.get("data")))))
    else:
        words = " ".join(f"{key}={_plain(value)}" for key, value in body.items() if value not in ("", None))
    label = "" if event.type == "agent.log" else f"[cyan]{text(event.type)}[/] "
    when = event.time.ToDatetime().strftime("%H:%M:%S")
    app.out.print(f"[dim]{when}[/] {label}{text(words)}", highlight=False)


def _step_state(data: object) -> str:
    return str(data.get("state", "")) if isinstance(data, dict) else ""


def _plain(value: object) -> object:
    """JSON numbers arrive as floats; a whole one is shown as such."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
