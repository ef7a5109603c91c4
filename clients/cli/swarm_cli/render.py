"""Tables and words for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Literal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rich.markup import escape
from rich.table import Table

from swarm_sdk.types import Attempt, BootTiming, Ticket, name_of, tier_of

COLOURS = {
    "pending": "dim",
    "blocked": "yellow",
    "ready": "cyan",
    "assigned": "blue",
    "running": "bold blue",
    "waiting": "magenta",
    "in_review": "green",
    "completed": "bold green",
    "succeeded": "green",
    "failed": "bold red",
    "lost": "red",
    "cancelled": "dim red",
    "healthy": "green",
    "unhealthy": "bold red",
    "unknown": "yellow",
    "silent": "red",
    "online": "green",
    "offline": "red",
    "cordoned": "yellow",
    "draining": "yellow",
    "paused": "yellow",
    "skipped": "dim",
    "stopped": "dim",
    "open": "green",
    "merged": "magenta",
    "closed": "red",
}


def paint(word: str) -> str:
    """A state in its colour."""
    colour = COLOURS.get(word)
    return f"[{colour}]{word}[/]" if colour else word


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> Table:
    """A plain table; a column named with a leading `>` is aligned to the right."""
    grid = Table(
        title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0)
    )
    for column in columns:
        last = column == columns[-1]  # what is longest stands last and may take several lines
        justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        grid.add_column(column.removeprefix(">"), justify=justify, no_wrap=not last, overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


def text(value: str, width: int = 0) -> str:
    """Words from outside, made safe for a terminal: no markup, no control characters, one line."""
    flat = "".join(char if char.isprintable() else " " for char in value)
    if width and len(flat) > width:
        flat = flat[: width - 1] + "…"
    return escape(flat)


def visible(words: str) -> str:
    """Lines from outside without what a terminal would obey; tabs become spaces. Still markup for rich."""
    lines = words.replace("\t", "    ").split("\n")
    return "\n".join("".join(char if char.isprintable() else " " for char in line) for line in lines)


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size(count: int) -> str:
    """Bytes for people."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:  # noqa: PLR2004  # the step between units
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def milliseconds(microseconds: int) -> str:
    return f"{microseconds / 1000:.1f}" if microseconds else ""


def boot(timing: BootTiming) -> tuple[str, str, str]:
    """Tier, milliseconds to the running VM, milliseconds to its first request."""
    return tier_of(timing), milliseconds(timing.boot_us), milliseconds(timing.ready_us)


def elapsed(attempt: Attempt) -> str:
    """Time that an attempt took, or takes by now."""
    if not attempt.HasField("assigned_at"):
        return ""
    end = attempt.finished_at.ToNanoseconds() / 1e9 if attempt.HasField("finished_at") else time.time()
    return duration(end - attempt.assigned_at.ToNanoseconds() / 1e9)


def duration(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004  # seconds per minute
        return f"{max(seconds, 0):.1f}s"
    return str(timedelta(seconds=int(seconds)))


def seconds(count: int | None) -> Duration | None:
    """A duration that was asked for; None stays unset."""
    return None if count is None else Duration(seconds=count)


def ago(moment: Timestamp) -> str:
    """How long ago; nothing for a time that is not set."""
    if not moment.ToNanoseconds():
        return ""
    return f"{duration(time.time() - moment.ToNanoseconds() / 1e9)} ago"


def ticket_rows(tickets: Iterable[Ticket], width: int = 60) -> list[list[str]]:
    """Rows of the table that `swarm run` and `swarm ticket list` show."""
    return [_ticket_row(ticket, width) for ticket in tickets]


TICKET_COLUMNS = ("TICKET", "TITLE", "STATE", "VM", "TIER", ">BOOT ms", ">READY ms", ">ELAPSED", "LAST")


def _ticket_row(ticket: Ticket, width: int) -> list[str]:
    attempt = ticket.current_attempt
    said = ticket.question or ticket.state_reason or ticket.last_log
    return [
        ticket.key,
        text(ticket.spec.title, 32),
        paint(name_of(ticket, "state")),
        attempt.vm_id[:11],
        *boot(attempt.boot),
        elapsed(attempt),
        text(said, width),
    ]
