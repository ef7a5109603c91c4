"""Scans in a process of its own: however slow a hostile patch makes it, the broker serves others meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
from dataclasses import asdict
from typing import NoReturn

from hostd.broker import confine
from hostd.git.scan import Finding, Severity, scan

CPU_S = 60
_MEMORY = 4 << 30
_NICE = 10
_FIRST_OTHER_FD = 4


class ScanError(Exception):
    """The scan needs more time or memory than one push gets."""


async def scan_apart(patch: bytes, cpu_s: int = CPU_S) -> list[Finding]:
    """Findings of `hostd.git.scan.scan`, within `cpu_s` seconds of CPU time. `ScanError`."""
    reading, writing = os.pipe()
    pid = os.fork()  # no new program: the broker's user need not be able to read this one's files
    if pid == 0:
        _scan_and_exit(patch, writing, cpu_s)
    os.close(writing)
    try:
        said = await _read_all(reading)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # noqa: ASYNC222 - it is dead
    try:
        return [Finding(**{**each, "severity": Severity(each["severity"])}) for each in json.loads(said)]
    except ValueError:
        raise ScanError(f"looking through the changes takes more than {cpu_s} s; push less at once") from None


async def _read_all(fd: int) -> bytes:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
    )
    try:
        return await reader.read()
    finally:
        transport.close()


def _scan_and_exit(patch: bytes, writing: int, cpu_s: int) -> NoReturn:
    try:
        _confine(writing, cpu_s)
        said = json.dumps([asdict(finding) for finding in scan(patch)]).encode()
        while said:
            said = said[os.write(_FIRST_OTHER_FD - 1, said) :]
    finally:
        os._exit(0)


def _confine(writing: int, cpu_s: int) -> None:
    """Of what the broker has open only the pipe stays, so that no socket outlives its attempt."""
    with contextlib.suppress(OSError):
        confine.die_with_parent()
    os.dup2(writing, _FIRST_OTHER_FD - 1)
    os.closerange(_FIRST_OTHER_FD, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.nice(_NICE)
