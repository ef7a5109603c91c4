"""What agents and people write must not reach the terminal as anything but words."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from swarm_cli.commands.pr import text_lines
from swarm_cli.context import App, fail
from swarm_cli.logs import show
from swarm_cli.render import TICKET_COLUMNS, counted, duration, size, table, text, ticket_rows, visible
from swarm_sdk.types import Attempt, BootTier, BootTiming, Event, Ticket, TicketSpec, TicketState

HOSTILE = [
    "\x1b[2J\x1b[31mred",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\",
    "a\rb\nc\x08d",
    "\x9b31m",
    "[bold]loud[/bold]",
    "[/]",
    "[link=http://evil]here[/link]",
    "\\[bold]",
    "trailing backslash \\",
    "\u202ereversed",
    "zero\u200bwidth",
]


def printed(words: str) -> str:
    out = io.StringIO()
    Console(file=out, width=400, force_terminal=True, color_system="truecolor").print(words, highlight=False)
    return out.getvalue()


@pytest.mark.parametrize("words", HOSTILE, ids=ascii)
def test_hostile_words_stay_words(words: str) -> None:
    shown = printed(text(words)).rstrip("\n")

    assert shown.isprintable(), ascii(shown)
    assert shown.rstrip(" \\") == "".join(char if char.isprintable() else " " for char in words).rstrip(" \\")


@given(st.text())
def test_any_text_is_one_printable_line(words: str) -> None:
    shown = printed(text(words)).replace("\n", "")

    assert shown == "" or shown.isprintable()


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert printed(text("[bold]" * 10, 8)) == "[bold][…\n"


def hostile_ticket() -> Ticket:
    words = "".join(HOSTILE)
    return Ticket(
        key="TKT-001",
        spec=TicketSpec(title=words),
        state=TicketState.TICKET_STATE_RUNNING,
        last_log=words,
        current_attempt=Attempt(vm_id="vm_0123456789", boot=BootTiming(tier=BootTier.BOOT_TIER_T1S, boot_us=1234)),
    )


def test_a_ticket_table_neutralises_title_and_log() -> None:
    out = io.StringIO()
    console = Console(file=out, width=400)
    console.print(table(TICKET_COLUMNS, ticket_rows([hostile_ticket()])))

    shown = out.getvalue()
    assert "\x1b" not in shown
    assert "TKT-001" in shown
    assert " T1s " in shown
    assert " 1.2 " in shown


@pytest.mark.parametrize("kind", ["agent.log", "ticket.state", "[/]"])
def test_an_event_line_neutralises_its_data(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in HOSTILE:
        event = ParseDict({"type": kind, "data": {"text": words, words: words}}, Event())
        show(App(Path("state"), as_json=False), event)

    shown = capsys.readouterr().out
    assert all(line.isprintable() for line in shown.splitlines())
    assert len(shown.splitlines()) >= len(HOSTILE)


def test_a_diff_in_a_pipe_keeps_its_lines_and_nothing_else() -> None:
    shown = printed(text_lines("+a\tb\n-\x1b[31m[bold]x\n"))

    assert shown == "+a    b\n- [31m[bold]x\n"


def test_a_diff_on_a_terminal_keeps_its_lines_and_nothing_that_the_terminal_obeys() -> None:
    shown = visible("+a\tb\n" + "".join(HOSTILE) + "\n")

    assert shown.startswith("+a    b\n")
    assert all(line.isprintable() for line in shown.split("\n"))


def test_an_error_neutralises_what_it_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    for words in HOSTILE:
        with pytest.raises(SystemExit):
            fail(App(Path("state"), as_json=False), f"git failed: {words}", 1, hint=words)

    assert all(line.isprintable() for line in capsys.readouterr().err.split("\n"))


@pytest.mark.parametrize(("count", "words"), [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (3 << 30, "3.0 GiB")])
def test_sizes(count: int, words: str) -> None:
    assert size(count) == words


@pytest.mark.parametrize(("seconds", "words"), [(-1, "0.0s"), (1.25, "1.2s"), (61, "0:01:01"), (3600, "1:00:00")])
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_one_of_something_is_one() -> None:
    assert [counted(count, "host") for count in (0, 1, 2)] == ["0 hosts", "1 host", "2 hosts"]
