"""What every command shares: options, the client, the console, and one way to end with an error."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, NoReturn, ParamSpec, TextIO

import click
from rich.console import Console
from rich.markup import escape

from swarm_cli.render import text, visible
from swarm_sdk.client import Client
from swarm_sdk.errors import SwarmError

P = ParamSpec("P")

INTERRUPTED = 130
TERMINATED = 143
WORK_FAILED = 8
PIPE_WIDTH = 240


def _console(stream: TextIO) -> Console:
    """A pipe has no width of its own: wide enough that no table loses a word."""
    return Console(file=stream, width=None if stream.isatty() else PIPE_WIDTH)


def default_state_dir() -> Path:
    """Root keeps its state where services do, everybody else under the home directory."""
    if os.geteuid() == 0:
        return Path("/var/lib/swarm")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "swarm"


@dataclass(slots=True)
class App:
    """One invocation. `out` is for results, `err` for progress and errors."""

    state_dir: Path
    as_json: bool
    out: Console = field(default_factory=lambda: _console(sys.stdout))
    err: Console = field(default_factory=lambda: _console(sys.stderr))

    def client(self) -> Client:
        """A client of the control plane that this invocation talks to; use it as a context manager."""
        return Client.from_environment(self.state_dir)

    @property
    def url(self) -> str:
        """Where the control plane of this state directory serves HTTP; empty while none does."""
        try:
            return (self.state_dir / "http.url").read_text().strip()
        except OSError:
            return ""

    def emit(self, data: Any) -> None:
        """Prints a result as one JSON document."""
        sys.stdout.write(json.dumps(data, ensure_ascii=False) + "\n")

    def note(self, words: str) -> None:
        """A remark for people; programs that asked for JSON do not see it."""
        if not self.as_json:
            self.err.print(words, highlight=False)


def command(
    group: click.Group, name: str | None = None, *, examples: str = ""
) -> Callable[[Callable[Concatenate[App, P], Coroutine[Any, Any, None]]], click.Command]:
    """Adds an async function to a group as a command with `--json` and `--state-dir`; it gets the `App` first."""

    def decorate(function: Callable[Concatenate[App, P], Coroutine[Any, Any, None]]) -> click.Command:
        @functools.wraps(function)
        def invoke(*args: P.args, **kwargs: P.kwargs) -> None:
            as_json, state_dir = bool(kwargs.pop("as_json")), kwargs.pop("state_dir")
            app = App(Path(str(state_dir)).absolute() if state_dir else default_state_dir(), as_json)
            run(app, function(app, *args, **kwargs))

        callback: Callable[..., None] = invoke
        for option in (_JSON, _STATE_DIR):
            callback = option(callback)
        epilog = f"\b\nExamples:\n{examples}" if examples else None
        return group.command(name, epilog=epilog)(callback)

    return decorate


_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document for programs.")
_STATE_DIR = click.option(
    "--state-dir", envvar="SWARM_STATE_DIR", default=None, help="State of this deployment (or SWARM_STATE_DIR)."
)


def run(app: App, work: Coroutine[Any, Any, None]) -> None:
    """Runs a command to its end; every way to fail becomes one message and an exit code."""
    try:
        asyncio.run(_terminable(work))
    except SwarmError as error:
        fail(app, error.message, error.exit_code, error=error)
    except (KeyboardInterrupt, asyncio.CancelledError) as signalled:
        app.note("[yellow]interrupted[/]; tickets go on while the deployment is up: see `swarm status`")
        raise SystemExit(INTERRUPTED if isinstance(signalled, KeyboardInterrupt) else TERMINATED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        fail(app, f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)


async def _terminable(work: Coroutine[Any, Any, None]) -> None:
    """SIGTERM unwinds a command as Ctrl-C does, so that nothing it started is left behind."""
    task = asyncio.ensure_future(work)
    with contextlib.suppress(ValueError):  # outside the main thread there are no signals to handle
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


def fail(app: App, message: str, code: int, *, error: SwarmError | None = None, hint: str = "") -> NoReturn:
    """Tells what went wrong and ends with `code`."""
    if app.as_json:
        sys.stderr.write(json.dumps({"error": _as_data(message, error, hint)}) + "\n")
        raise SystemExit(code)
    app.err.print(f"[bold red]error:[/] {escape(visible(message))}", highlight=False)
    for violation in error.violations if error else ():
        app.err.print(f"  [cyan]{text(violation.field)}[/]  {text(violation.description)}", highlight=False)
    request = f"request {error.request_id}" if error and error.request_id else ""
    for line in filter(None, (hint or _hint(error), request)):
        app.err.print(f"  [dim]{text(line)}[/]", highlight=False)
    raise SystemExit(code)


def _as_data(message: str, error: SwarmError | None, hint: str) -> dict[str, Any]:
    if error is None:
        return {"code": "FAILED", "message": message, "hint": hint}
    violations = [{"field": each.field, "description": each.description} for each in error.violations]
    return {
        "code": error.code,
        "message": message,
        "reason": error.reason,
        "violations": violations,
        "request_id": error.request_id,
    }


def _hint(error: SwarmError | None) -> str:
    if error is None:
        return ""
    if error.reason == "no_token" or error.code == "UNAVAILABLE":
        return "start it with `swarm up`, or name its directory with --state-dir"
    return _HINTS.get(error.code, "")


_HINTS = {
    "UNAUTHENTICATED": "log in with `swarm login EMAIL`, or set SWARM_TOKEN to a key of `swarm key create`",
    "PERMISSION_DENIED": "`swarm whoami` says your role and scopes",
}
