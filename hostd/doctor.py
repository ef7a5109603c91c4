"""Checks of the machine that a host runs on: `python -m hostd.doctor` prints them as JSON.

A check never changes anything. KVM is judged by the CPU flags here; hostd itself boots a guest before it believes them.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

OK: Final = "ok"
WARNING: Final = "warning"
FAILED: Final = "failed"

PROGRAMS: Final = {
    "qemu-system-x86_64": "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "mksquashfs": "squashfs-tools",
    "mkfs.ext4": "e2fsprogs",
    "setpriv": "util-linux",
    "git": "git",
}
DISK_WANTED: Final = 8 << 30
MEMORY_WANTED: Final = 2 << 30
# clone3 with a pidfd, close_range and memfd seals are all there from 5.9 on; MADV_POPULATE_READ from 5.14.
KERNEL_WANTED: Final = (5, 14)


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `advice` is empty when there is nothing to do."""

    name: str
    status: str
    found: str
    advice: str = ""


def privileges() -> Check:
    if os.geteuid() == 0:
        return Check("root", OK, "running as root")
    return Check("root", FAILED, f"uid {os.geteuid()}", "hostd makes network namespaces and starts VMs: run it as root")


def kernel() -> Check:
    release = platform.release()
    version = tuple(int(part) for part in release.split(".")[:2] if part.isdigit())
    if version >= KERNEL_WANTED:
        return Check("kernel", OK, release)
    wanted = ".".join(map(str, KERNEL_WANTED))
    return Check("kernel", FAILED, release, f"Linux {wanted} or later is needed")


def processor() -> Check:
    flags = _cpu_flags()
    found = f"{os.cpu_count()} CPUs, {platform.machine()}"
    if platform.machine() != "x86_64":
        return Check("cpu", FAILED, found, "images are built for x86_64")
    virtual = next((flag for flag in ("vmx", "svm") if flag in flags), "")
    return Check("cpu", OK, f"{found}{f', {virtual}' if virtual else ', no vmx or svm'}")


def kvm() -> Check:
    """A node that opens proves nothing: without vmx or svm every guest kernel instruction may be emulated."""
    advice = "VMs run under TCG, which is slow and no security boundary: development and CI only"
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return Check("kvm", WARNING, f"/dev/kvm: {error.strerror}", advice)
    if not _cpu_flags() & {"vmx", "svm"}:
        return Check("kvm", WARNING, "/dev/kvm opens, the CPU shows neither vmx nor svm", advice)
    return Check("kvm", OK, "/dev/kvm opens")


def tun() -> Check:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return Check("tun", FAILED, f"/dev/net/tun: {error.strerror}", "load the module: modprobe tun")
    return Check("tun", OK, "/dev/net/tun opens")


def userfaultfd() -> Check:
    if Path("/dev/userfaultfd").exists():
        return Check("userfaultfd", OK, "/dev/userfaultfd")
    return Check("userfaultfd", WARNING, "no /dev/userfaultfd", "only Firecracker with remote memory wants it")


def cgroups() -> Check:
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    if controllers.exists() and {"memory", "pids"} <= set(controllers.read_text().split()):
        return Check("cgroup", OK, "v2 with memory and pids")
    advice = "VMs are bounded by their size, rlimits and nice instead; boot with systemd.unified_cgroup_hierarchy=1"
    return Check("cgroup", WARNING, "no cgroup v2 controllers", advice)


def disk() -> Check:
    free = shutil.disk_usage("/var").free
    found = f"{free >> 30} GiB free below /var"
    if free >= DISK_WANTED:
        return Check("disk", OK, found)
    return Check("disk", WARNING, found, f"{DISK_WANTED >> 30} GiB hold an image, a template and a few scratch disks")


def memory() -> Check:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(fields["MemAvailable"].split()[0]) << 10
    found = f"{free >> 20} MiB available"
    if free >= MEMORY_WANTED:
        return Check("memory", OK, found)
    return Check("memory", WARNING, found, "each running VM takes 40 MiB and more; start fewer with --max-vms")


def program(name: str, package: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, FAILED, "not found", f"apt-get install {package}")
    return Check(name, OK, _version(path) if name in {"qemu-system-x86_64", "git"} else path)


def checks() -> list[Check]:
    """Every check, in the order that people should read them."""
    machine: tuple[Callable[[], Check], ...] = (
        privileges,
        kernel,
        processor,
        kvm,
        tun,
        userfaultfd,
        cgroups,
        disk,
        memory,
    )
    return [each() for each in machine] + [program(name, package) for name, package in PROGRAMS.items()]


def _cpu_flags() -> frozenset[str]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def _version(path: str) -> str:
    shown = subprocess.run([path, "--version"], check=False, capture_output=True, text=True, timeout=10)
    return (shown.stdout.splitlines() or [path])[0]


if __name__ == "__main__":
    json.dump([asdict(check) for check in checks()], sys.stdout)
