"""What each process of a deployment holds: memory, descriptors, threads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.harness.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Sample:
    """Of one process: `at` seconds since the begin; `rest`: nothing was at work. Memory in bytes, anonymous alone."""

    at: float
    name: str
    pid: int
    rest: bool
    memory: int
    descriptors: int
    threads: int


def take(deployment: Deployment, at: float, *, rest: bool) -> list[Sample]:
    """One of each process that runs, the broker of each host among them."""
    found = []
    for name, pid in processes(deployment):
        with suppress(OSError):
            found.append(_of(pid, name, at, rest=rest))
    return found


def processes(deployment: Deployment) -> Iterator[tuple[str, int]]:
    """Names and pids: `controlplane`, `hostd NAME`, `broker NAME`."""
    if deployment.control.alive():
        yield "controlplane", deployment.control.pid
    for name, host in deployment.hosts.items():
        if host.alive():
            yield f"hostd {name}", host.pid
            yield from ((f"broker {name}", pid) for pid in _brokers(host.pid))


def _brokers(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if b"hostd.broker" in Path(f"/proc/{child}/cmdline").read_bytes():
                yield int(child)


def _of(pid: int, name: str, at: float, *, rest: bool) -> Sample:
    status = dict(re.findall(r"^(\w+):\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    return Sample(at, name, pid, rest, int(status["RssAnon"]) << 10, descriptors, int(status["Threads"]))


def counts(deployment: Deployment) -> Mapping[str, int]:
    """How many of each kind the deployment has on the machine now, beyond what was there before it."""
    return {kind: len(items) for kind, items in deployment.left().items()}
