"""`swarm cleanup`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from swarm_cli.context import App, command
from swarm_cli.render import ago, size, table, text
from swarm_sdk.types import CleanupReport, CleanupRun, to_dict

COUNTS = {
    "vms": "VMS",
    "namespaces": "NAMESPACES",
    "cgroups": "CGROUPS",
    "files": "FILES",
    "cached": "CACHED",
    "assignments": "LEASES",
    "branches": "BRANCHES",
    "rows": "ROWS",
}


@click.group()
def _root() -> None: ...


@command(
    _root,
    "cleanup",
    examples="  swarm cleanup\n  swarm cleanup --status\n  swarm cleanup --status --runs 5 --host local",
)
@click.option("--status", is_flag=True, help="Clean nothing; show what the last cleanups did.")
@click.option("--runs", type=click.IntRange(1, 10), help="With --status: runs per host.  [default: 1]")
@click.option("--host", default="", help="With --status: only this host (id or name).")
async def cli(app: App, *, status: bool, runs: int | None, host: str) -> None:
    """Remove what nothing owns any more, in the control plane and on every online host."""
    if not status and (runs or host):
        # Else who asks for one host would clean up all of them.
        raise click.UsageError("--runs and --host go with --status; a cleanup is of everything")
    async with app.client() as client:
        if status:
            _show_runs(app, await client.coordinator.cleanup_status(host=host, runs=runs or 1))
        else:
            _show(app, await client.coordinator.cleanup())


def _show(app: App, report: CleanupReport) -> None:
    if app.as_json:
        app.emit(to_dict(report))
        return
    app.out.print(table(_columns(), [_counts(report)]))
    _details(app, report.details)


def _show_runs(app: App, runs: Sequence[CleanupRun]) -> None:
    if app.as_json:
        app.emit([to_dict(run) for run in runs])
        return
    rows = [
        [text(run.host_name) or "control plane", ago(run.finished_at), text(run.by), *_counts(run.report)]
        for run in runs
    ]
    app.out.print(table(["WHERE", "WHEN", "BY", *_columns()], rows))
    for run in runs:
        where = text(run.host_name) or "control plane"
        if run.error:
            app.out.print(f"[red]{where}:[/] {text(run.error)}", highlight=False)
        _details(app, [f"{run.host_name or 'control plane'}: {line}" for line in run.report.details])


def _details(app: App, details: Sequence[str]) -> None:
    for detail in details:
        app.out.print(f"  {text(detail)}", highlight=False)


def _columns() -> list[str]:
    return [*(f">{name}" for name in COUNTS.values()), ">FREED"]


def _counts(report: CleanupReport) -> list[str]:
    return [*(str(getattr(report, name)) for name in COUNTS), size(report.freed_bytes)]
