"""Attempts of a ticket, with what their causes mean."""

from __future__ import annotations

from collections.abc import Sequence

from swarm_cli.context import App
from swarm_cli.render import boot, duration, elapsed, paint, table, text
from swarm_sdk.types import Attempt, name_of

COLUMNS = (
    ">ATTEMPT",
    ">FENCE",
    "STATE",
    "HOST",
    "VM",
    "TIER",
    ">BOOT ms",
    ">READY ms",
    ">ELAPSED",
    "FAULT",
    ">NEXT AFTER",
    "CAUSE",
)


def show_attempts(app: App, attempts: Sequence[Attempt]) -> None:
    """A row for each, and once for each cause what it means and what to do."""
    app.out.print(table(COLUMNS, [_row(attempt) for attempt in attempts]))
    for cause, explanation in {each.cause: each.explanation for each in attempts if each.explanation}.items():
        app.out.print(f"[bold]{text(cause)}[/]  {text(explanation)}", highlight=False)


def _row(attempt: Attempt) -> list[str]:
    waits = duration(attempt.retry_delay.ToMilliseconds() / 1000) if attempt.HasField("retry_delay") else ""
    return [
        str(attempt.number),
        str(attempt.fence),
        paint(name_of(attempt, "state")),
        attempt.host_id[:11],
        text(attempt.vm_id[:11]),
        *boot(attempt.boot),
        elapsed(attempt),
        text(attempt.fault),
        waits,
        text(": ".join(filter(None, (attempt.cause, attempt.reason))), 80),
    ]
