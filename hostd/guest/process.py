"""Runs a program for the ticket: output becomes lines, time is limited, nothing that it started is left over."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO

LINE_LIMIT = 256 << 10
KILLED_BY_DEADLINE = 124
_PIECE = 1 << 16
_JOIN_S = 5.0

Sink = Callable[[str], None]


def start(argv: Sequence[str], cwd: str, env: dict[str, str], *, with_input: bool = False) -> subprocess.Popen[bytes]:
    """The program in a session of its own. `OSError`."""
    return subprocess.Popen(
        argv,
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE if with_input else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        bufsize=0,
    )


def finish(process: subprocess.Popen[bytes], out: Sink, err: Sink, deadline: float, *, alone: bool) -> int:
    """Exit status of the program, 124 when time was up, 128 + n after signal n.

    `alone`: nobody else runs here, so all processes are ended, whatever session they fled to.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [
        threading.Thread(target=read_lines, args=(stream, sink), daemon=True)
        for stream, sink in ((process.stdout, out), (process.stderr, err))
    ]
    for reader in readers:
        reader.start()
    late = False
    try:
        status = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        late, status = True, KILLED_BY_DEADLINE
    end_all(process.pid, alone=alone)
    process.wait()
    for reader in readers:
        reader.join(_JOIN_S)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    return KILLED_BY_DEADLINE if late else status if status >= 0 else 128 - status


def end_all(session: int, *, alone: bool) -> None:
    """Kill what is left of a session, or everything but ourselves and PID 1."""
    for target in (-1,) if alone else (-session,):
        with contextlib.suppress(ProcessLookupError):
            os.kill(target, signal.SIGKILL)


def read_lines(stream: IO[bytes], sink: Sink) -> None:
    """Call `sink` per line; a line without end is cut into pieces."""
    rest = b""
    while piece := _read(stream):
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > LINE_LIMIT:
            lines, rest = [*lines, rest], b""
        for line in lines:
            sink(line.decode(errors="replace").rstrip("\r"))
    if rest:
        sink(rest.decode(errors="replace"))


def _read(stream: IO[bytes]) -> bytes:
    try:
        return os.read(stream.fileno(), _PIECE)
    except (OSError, ValueError):  # closed, because a process that fled still holds the other end
        return b""


def run(argv: Sequence[str], cwd: str, env: dict[str, str], sink: Sink, deadline: float) -> int:
    """Run a program of the runtime's own, both outputs to one sink."""
    return finish(start(argv, cwd, env), sink, sink, deadline, alone=False)
