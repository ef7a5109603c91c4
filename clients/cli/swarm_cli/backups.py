"""The offline half of backups: programs of the control plane, started as `swarm up` starts services."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from typing import Any

from swarm_cli.context import App
from swarm_cli.progress import show
from swarm_cli.render import counted, text
from swarm_sdk.errors import FailedPreconditionError
from swarm_sdk.types import Progress

NAME = "controlplane: "


async def offline(app: App, title: str, *arguments: str) -> dict[str, Any]:
    """Result of `python -m controlplane ARGUMENTS`; its one line about what is wrong becomes the error."""
    command = [sys.executable, "-m", "controlplane", *arguments]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    result: dict[str, Any] = {}
    assert child.stdout is not None
    assert child.stderr is not None
    errors = asyncio.create_task(child.stderr.read())
    try:
        await progress(app, title, _steps(child.stdout, result))
        told = (await errors).decode(errors="replace").strip()
        code = await child.wait()
    finally:
        if child.returncode is None:
            child.terminate()
            await child.wait()
    if code:
        raise FailedPreconditionError(told.removeprefix(NAME) or f"{title} ended with {code}", reason="refused")
    return result


async def progress(app: App, title: str, steps: AsyncIterator[Progress]) -> None:
    """For people only: who asked for JSON gets one document."""
    if app.as_json:
        async for _ in steps:
            pass
    else:
        await show(app, title, steps)


async def _steps(stream: asyncio.StreamReader, result: dict[str, Any]) -> AsyncGenerator[Progress, None]:
    while line := await stream.readline():
        data = json.loads(line)
        if "result" in data:
            result |= data["result"]
        else:
            yield Progress(fraction=data["fraction"], message=data["step"])


def describe(app: App, manifest: dict[str, Any]) -> None:
    """What a backup holds, as a line for people."""
    rows = manifest["rows"]
    size = sum(int(file["size"]) for file in manifest["files"])
    app.out.print(
        f"{counted(rows.get('ticket', 0), 'ticket')}, {counted(rows.get('event', 0), 'event')},"
        f" {size / (1 << 20):.1f} MiB, epoch {manifest.get('epoch', 0)},"
        f" schema {text(manifest['schema'])}, version {text(manifest['version'])}",
        highlight=False,
    )


def tidy(manifest: dict[str, Any]) -> dict[str, Any]:
    """One form of a manifest, whether it came over the wire or from the file itself."""
    created = manifest["created_at"]
    if isinstance(created, float):
        created = datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    files = [{**file, "size": int(file["size"])} for file in manifest["files"]]
    rows = {table: int(count) for table, count in manifest["rows"].items()}
    return {**manifest, "created_at": created, "rows": rows, "files": files}
