"""Runs the programs that build an image."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hostd.errors import TemplateError

GRACE_S = 5.0
KEPT = ("PATH", "TMPDIR", "APT_CONFIG", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy")
"""What a build takes from our environment: how to find programs and package sources, and nothing that is ours."""


async def run(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None, stdin: Path | None = None
) -> str:
    """Run to the end and return its output. `TemplateError` with its last words; cancelled: the program is ended."""
    source = os.open(stdin or os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env={**_kept(), "LC_ALL": "C.UTF-8", **(env or {})},
            stdin=source,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise TemplateError(f"{argv[0]} is not installed; `swarm doctor` lists what is needed") from error
    finally:
        os.close(source)
    try:
        output, errors = await process.communicate()
    except asyncio.CancelledError:
        await _end(process)
        raise
    if process.returncode:
        last = errors.decode(errors="replace").strip().splitlines()[-3:]
        raise TemplateError(f"{argv[0]} failed with status {process.returncode}: {' | '.join(last)}")
    return output.decode(errors="replace")


def _kept() -> dict[str, str]:
    return {name: os.environ[name] for name in KEPT if name in os.environ}


async def _end(process: asyncio.subprocess.Process) -> None:
    # SIGTERM first: mmdebstrap takes its mounts down itself.
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), GRACE_S)
            return
