"""Progress of long work on hosts: a bar each in a terminal, a line per step elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from swarm_cli.context import App
from swarm_cli.render import text
from swarm_sdk.types import Progress, to_dict


async def show(app: App, title: str, steps: AsyncIterator[Progress]) -> None:
    """Shows the steps until the last one; an error of the stream ends it."""
    if app.as_json:
        async for step in steps:
            app.emit(to_dict(step))
    elif app.err.is_terminal:
        await _bars(app, title, steps)
    else:
        said = ""
        async for step in steps:
            if step.message and step.message != said:
                said = step.message
                app.note(f"{title}: {text(said)}")


async def _bars(app: App, title: str, steps: AsyncIterator[Progress]) -> None:
    columns = (TextColumn("{task.fields[title]}"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bars(*columns, console=app.err) as bars:
        tasks = {}
        async for step in steps:
            if step.host_id not in tasks:
                tasks[step.host_id] = bars.add_task("", total=1.0, title=title)
            bars.update(tasks[step.host_id], completed=step.fraction, description=text(step.message, 60))
