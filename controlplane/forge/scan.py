"""The scan of what was pushed: the program that hosts use as well, fed by git without a byte passing through here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controlplane.errors import FailedPrecondition
from controlplane.forge.git import Git

PROGRAM: Final = "hostd.broker.scanner"
LIMITED: Final = ("prlimit", "--as=4294967296", "--cpu=600", "--core=0", "--")
TIMEOUT_S: Final = 600.0
NOBODY: Final = 65534
_PATCH: Final = (
    "log", "--patch", "--unified=0", "--text", "-c", "--no-renames", "--no-color", "--no-ext-diff", "--no-textconv",
    "--src-prefix=a/", "--dst-prefix=b/", "--format=commit %H",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """`line` is 0 when the file as a whole is meant. The text never quotes what was found."""

    severity: str
    rule: str
    path: str
    line: int
    text: str

    @property
    def critical(self) -> bool:
        return self.severity == "critical"

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{self.severity} {self.rule} {place} {self.text}"


def new_commits(ref: str, base: str, head: str) -> tuple[str, ...]:
    """Arguments that mean all that is new: what a later commit takes back stays in the history.

    Not `--all`, which means HEAD too, and that is the branch that was pushed.
    """
    return head, "--not", base, f"--exclude={ref}", "--glob=refs/*"


async def scan(git: Git, commits: Sequence[str]) -> list[Finding]:
    """Findings in each commit by itself. FailedPrecondition when looking takes more than one push gets."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            said = await _piped([*LIMITED, *git.argv((*_PATCH, *commits))], git.environment())
        return [Finding(**found) for found in json.loads(said)]
    except (ValueError, TimeoutError):
        raise FailedPrecondition(
            "the changes cannot be scanned: they take too much time or memory; push less at once", reason="scan_failed"
        ) from None


async def _piped(patch: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """What the program says of the output of a command; ValueError when either fails."""
    reading, writing = os.pipe()
    async with contextlib.AsyncExitStack() as stack:
        # Ends that we kept open would keep either child waiting for the other after it died.
        with open(reading, "rb"), open(writing, "wb"):  # noqa: ASYNC230, PTH123 - descriptors, to be closed
            scanner = await stack.enter_async_context(_child(_program(), _bare(), reading, subprocess.PIPE))
            source = await stack.enter_async_context(_child(patch, environment, subprocess.DEVNULL, writing))
        said, _ = await scanner.communicate()
        if await source.wait() or scanner.returncode:
            raise ValueError
    return said


def _program() -> list[str]:
    """As root it sheds its rights by itself, once it is loaded: others may not be able to read its files."""
    account = (str(NOBODY), str(NOBODY)) if os.geteuid() == 0 else ()
    return [sys.executable, "-m", PROGRAM, *account]


def _bare() -> Mapping[str, str]:
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}


@contextlib.asynccontextmanager
async def _child(
    argv: Sequence[str], environment: Mapping[str, str], stdin: int, stdout: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """One that is dead when the block is left."""
    process = await asyncio.create_subprocess_exec(
        *argv, env=environment, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.communicate())  # to the end of its pipes, which stay open otherwise
