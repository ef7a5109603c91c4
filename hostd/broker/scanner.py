"""Scans in a process of its own: however slow a hostile patch makes it, whoever needs it serves others meanwhile.

The broker forks, since its user need not be able to read this program's files. Others run
`python -m hostd.broker.scanner [UID GID]`: the patch (``git log --patch --unified=0``) on standard input, the findings
on standard output as one JSON list of objects with severity, rule, path, line and text, critical first; exit status 0.
As root it becomes UID and GID before it reads a byte. Within CPU_S seconds of CPU time; any other end is no answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import NoReturn

from hostd.broker import confine
from hostd.git.scan import Finding, Severity, scan

CPU_S = 60
_MEMORY = 4 << 30
_NICE = 10
_FIRST_OTHER_FD = 4
_WARM = b"diff --git a/a b/a\n@@ -0,0 +1 @@\n+password = 'a'\n"


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
        said = findings_of(patch)
        while said:
            said = said[os.write(_FIRST_OTHER_FD - 1, said) :]
    finally:
        os._exit(0)


def findings_of(patch: bytes) -> bytes:
    """The answer in JSON."""
    return json.dumps([asdict(finding) for finding in scan(patch)]).encode()


def _confine(writing: int, cpu_s: int) -> None:
    """Of what the broker has open only the pipe stays, so that no socket outlives its attempt."""
    with contextlib.suppress(OSError):
        confine.die_with_parent()
    os.dup2(writing, _FIRST_OTHER_FD - 1)
    os.closerange(_FIRST_OTHER_FD, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    _limit(cpu_s)


def _limit(cpu_s: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.nice(_NICE)


def main(arguments: Sequence[str]) -> None:
    """The program. All that it needs is loaded before it gives up its user."""
    findings_of(_WARM)
    uid, gid = (int(word) for word in arguments or (os.geteuid(), os.getegid()))
    confine.become(uid, gid)
    confine.die_with_parent()
    _limit(CPU_S)
    sys.stdout.buffer.write(findings_of(sys.stdin.buffer.read()))


if __name__ == "__main__":
    main(sys.argv[1:])
