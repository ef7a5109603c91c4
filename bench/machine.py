"""What the figures were taken on; without it they mean nothing."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path

CLOCK_MONOTONIC_COARSE = 6  # advances once per timer tick


def machine() -> dict[str, object]:
    """Processor, memory, kernel, tick rate, preemption model, huge pages, cgroup version, Python."""
    return {
        "cpu": first(r"model name\s*: (.*)", "/proc/cpuinfo") or platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "hz": round(1 / time.clock_getres(CLOCK_MONOTONIC_COARSE)),
        "preempt": preemption(),
        "huge_pages": first(r"\[(\w+)\]", "/sys/kernel/mm/transparent_hugepage/enabled") or "unknown",
        "cgroup": cgroup(),
        "python": platform.python_version(),
    }


def first(pattern: str, path: str) -> str:
    """First group of the pattern in a file; empty when either is missing."""
    try:
        match = re.search(pattern, Path(path).read_text())
    except OSError:
        return ""
    return match[1] if match else ""


def preemption() -> str:
    """The model in force where the kernel shows it, else the one it was built with."""
    built = re.search(r"PREEMPT\w*", platform.version())
    return first(r"\((\w+)\)", "/sys/kernel/debug/sched/preempt") or (built[0].lower() if built else "none")


def cgroup() -> str:
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return "v2"
    return "v1+v2" if (root / "unified/cgroup.controllers").exists() else "v1"
