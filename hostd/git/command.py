"""Starts git: as the right user, without capabilities, with an environment and configuration of our own only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
}
_CONFIG = (
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.fsmonitor=false",
    "safe.directory=*",
    "gc.auto=0",
    "maintenance.auto=false",
    "credential.helper=",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "push.recurseSubmodules=no",
    "transfer.credentialsInUrl=die",
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "protocol.allow=never",
)
# What git says last, after it has said what went wrong.
_EMPTY_WORDS = re.compile(
    r"failed to push some refs|could not read from remote repository|remote end hung up|correct access rights"
    r"|and the repository exists",
    re.IGNORECASE,
)
_OUTPUT_LIMIT = 64 << 20
_ERRORS_LIMIT = 64 << 10


class GitError(Exception):
    """git ended with `status`; the text is the last line that it complained with. `output` is what it printed."""

    def __init__(self, status: int, complaint: str, output: bytes = b"") -> None:
        super().__init__(complaint or f"git ended with status {status}")
        self.status = status
        self.output = output


@dataclass(frozen=True, slots=True)
class User:
    """Numeric identity of a child; no account is needed."""

    uid: int
    gid: int

    def prefix(self) -> list[str]:
        """Command prefix that becomes this user for good. Empty when this process is not root: nothing to shed."""
        if os.geteuid() != 0:
            return []
        ids = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        return ["setpriv", *ids, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"]


def git(*arguments: str, protocols: Sequence[str] = (), config: Sequence[str] = ()) -> list[str]:
    """Arguments of git; only the transports named in `protocols` are allowed."""
    settings = [*_CONFIG, *(f"protocol.{name}.allow=always" for name in protocols), *config]
    return ["git", *(word for setting in settings for word in ("-c", setting)), *arguments]


@contextlib.asynccontextmanager
async def child(
    argv: Sequence[str],
    *,
    cwd: Path | str = "/",
    env: Mapping[str, str] | None = None,
    stdin: int | None = DEVNULL,
    stdout: int | None = PIPE,
    stderr: int | None = PIPE,
    fds: Sequence[int] = (),
) -> AsyncIterator[Process]:
    """A process in a session of its own that is dead, with all it started, when the block is left."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=cwd,
        env={**ENVIRONMENT, **(env or {})},
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=tuple(fds),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())


async def run(
    argv: Sequence[str],
    *,
    cwd: Path | str = "/",
    env: Mapping[str, str] | None = None,
    data: bytes = b"",
    fds: Sequence[int] = (),
    timeout_s: float = 60,
) -> bytes:
    """Output of a command that succeeds; `GitError` otherwise, also when it takes longer than `timeout_s` seconds."""
    try:
        async with asyncio.timeout(timeout_s), child(argv, cwd=cwd, env=env, stdin=PIPE, fds=fds) as process:
            output, errors = await _exchange(process, data)
            status = await process.wait()
    except TimeoutError:
        raise GitError(-1, f"git took longer than {timeout_s:.0f} s") from None
    if status != 0:
        raise GitError(status, complaint(errors), output)
    return output


async def _exchange(process: Process, data: bytes) -> tuple[bytes, bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    output, errors, _ = await asyncio.gather(
        _read(process.stdout, _OUTPUT_LIMIT), read_tail(process.stderr), _feed(process.stdin, data)
    )
    return output, errors


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes:
    parts, size = [], 0
    while piece := await stream.read(1 << 16):
        size += len(piece)
        if size > limit:
            raise GitError(-1, f"git printed more than {limit >> 20} MiB")
        parts.append(piece)
    return b"".join(parts)


async def read_tail(stream: asyncio.StreamReader, limit: int = _ERRORS_LIMIT) -> bytes:
    """All of a stream, of which only the last `limit` bytes are kept."""
    tail = b""
    while piece := await stream.read(1 << 16):
        tail = (tail + piece)[-limit:]
    return tail


async def _feed(stream: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        if data:
            stream.write(data)
            await stream.drain()
        stream.close()


def complaint(errors: bytes) -> str:
    """The line of git's messages that says most, without its prefix, at most 300 printable characters."""
    said = [line.strip() for line in errors.decode(errors="replace").splitlines() if line.strip()]
    lines = [line for line in said if not _EMPTY_WORDS.search(line)] or said
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "! "))] or lines
    text = telling[-1] if telling else ""
    return "".join(c if c.isprintable() else "?" for c in text.removeprefix("fatal: ").removeprefix("error: "))[:300]
