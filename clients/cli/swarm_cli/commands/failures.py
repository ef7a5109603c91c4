"""`swarm failures`."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

from swarm_cli.context import App, command
from swarm_cli.render import table, text
from swarm_sdk.types import FailureCount, Failures, name_of, to_dict

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_S = 31 * SECONDS["d"]


class Window(click.ParamType[int]):
    """A number of seconds, minutes, hours or days."""

    name = "window"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds."""
        found = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", str(value))
        length = int(found[1]) * SECONDS[found[2]] if found else 0
        if not 0 < length <= LONGEST_S:
            self.fail(f"{value!r} is no length of time such as 30m, 24h or 7d, at most 31d", param, ctx)
        return length


@click.group()
def _root() -> None: ...


@command(
    _root, "failures", examples="  swarm failures\n  swarm failures --window 1h\n  swarm failures --window 7d --json"
)
@click.option("--window", type=Window(), default="24h", show_default=True, help="How far to look back: 30m, 24h, 7d.")
async def cli(app: App, window: int) -> None:
    """Count failed attempts by cause, fault, host and agent."""
    async with app.client() as client:
        found = await client.coordinator.failures(window_s=window)
        circuit = await client.coordinator.circuit()
    if app.as_json:
        app.emit(to_dict(found) | {"circuit": to_dict(circuit)})
        return
    _show(app, found)
    if (state := name_of(circuit, "state")) != "closed":
        rate = f"{circuit.failed} of {circuit.ended} attempts failed by it within a minute"
        app.note(f"[yellow]the circuit of {circuit.upstream} is {state.replace('_', ' ')}[/]: {rate}")


def _show(app: App, found: Failures) -> None:
    since = found.since.ToDatetime().strftime("%Y-%m-%d %H:%M")
    summary = f"{found.failed} failed, {found.attempts} begun since {since} UTC; {found.dead_letters} dead letters"
    app.out.print(summary, highlight=False)
    if not found.failed:
        return
    rows = [[text(each.name), each.fault, str(each.count), text(each.explanation)] for each in found.by_cause]
    app.out.print(table(["CAUSE", "FAULT", ">FAILED", "MEANING, AND WHAT TO DO"], rows))
    for title, counts in (("FAULT", found.by_fault), ("HOST", found.by_host), ("AGENT", found.by_agent)):
        app.out.print(table([title, ">FAILED"], _rows(counts)))
    if found.dead_letters:
        app.note("see them with: swarm ticket list --dead-letter")


def _rows(counts: Iterable[FailureCount]) -> list[list[str]]:
    return [[text(each.name), str(each.count)] for each in counts]
