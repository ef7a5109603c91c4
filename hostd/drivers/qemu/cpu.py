"""Which processors can run each other's snapshots."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from ext import clock
from hostd.drivers.qemu.command import Accel

_IDENTITY = ("vendor_id", "cpu family", "model", "stepping", "flags")


def cpu_class(accel: Accel) -> str:
    """Under KVM the guest sees the host's processor, under emulation only the pace of its counter."""
    if accel is Accel.TCG:
        return f"tcg-{tsc_khz() / 1e6:.2f}GHz"
    first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    facts = {key.strip(): value.strip() for key, _, value in pairs}
    identity = "\n".join(facts.get(key, "") for key in _IDENTITY)
    return f"kvm-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


@cache
def tsc_khz() -> int:
    """Measured once: it never changes while the machine is up."""
    return clock.tsc_khz()


def has_virtualization() -> bool:
    """Whether the processor shows the instructions that KVM needs for an ordinary guest kernel."""
    first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].split()
    return "vmx" in first or "svm" in first
