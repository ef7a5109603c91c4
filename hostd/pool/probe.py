"""Finds the isolation class of this machine by booting a guest: a KVM device that opens proves nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hostd import record
from hostd.drivers.port import Driver
from hostd.drivers.process import boot_id
from hostd.drivers.qemu.command import Accel
from hostd.drivers.qemu.cpu import has_virtualization
from hostd.drivers.qemu.driver import KVM, QemuDriver, find, kvm_group
from hostd.errors import DamagedStateError, UnsupportedError
from hostd.images.store import OpenImage
from hostd.ports import Progress, ProgressSink
from hostd.statedir import write_atomic
from hostd.templates.bake import Lend, boots

LIKELY_S = 20.0
UNLIKELY_S = 4.0
"""Deadline where the processor shows no virtualization: some nested hosts work all the same, most hang."""
TCG_REMARK = "VMs are emulated (TCG): no security boundary, for development and CI only"

log = logging.getLogger(__name__)

Make = Callable[[Accel], Driver]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Remembered until the machine boots, QEMU or the image changes. `fault` empty: KVM works."""

    boot_id: str
    version: str
    image_digest: str
    fault: str


async def choose(
    accel: str, image: OpenImage, lend: Lend, remembered: Path, progress: ProgressSink
) -> tuple[Driver, list[str]]:
    """The driver to use, and remarks for people. `accel` is auto, kvm or tcg; `UnsupportedError` if kvm fails."""
    program, version = await find()
    if accel == "tcg":
        return QemuDriver(program, version, Accel.TCG), [TCG_REMARK]
    kvm = QemuDriver(program, version, Accel.KVM)
    fault = await _fault(kvm, image, lend, remembered, progress)
    if not fault:
        return kvm, []
    if accel == "kvm":
        raise UnsupportedError(f"KVM was asked for and does not work here: {fault}")
    return QemuDriver(program, version, Accel.TCG), [f"KVM is not used: {fault}", TCG_REMARK]


async def _fault(driver: Driver, image: OpenImage, lend: Lend, remembered: Path, progress: ProgressSink) -> str:
    if not KVM.exists():
        return "this machine has no /dev/kvm"
    if kvm_group(os.getpid()) is None:
        return "VMMs may not open /dev/kvm; give it to a group: chgrp kvm /dev/kvm && chmod 660 /dev/kvm"
    known = _recall(remembered)
    if known == Verdict(boot_id(), driver.version, image.digest, known.fault if known else ""):
        return known.fault
    progress(Progress(0.0, "booting a guest under KVM to see whether it works"))
    deadline = LIKELY_S if has_virtualization() else UNLIKELY_S
    fault = await boots(driver, image, image.manifest.size, lend, deadline)
    with suppress(OSError):
        write_atomic(remembered, record.encode(Verdict(boot_id(), driver.version, image.digest, fault)))
    return fault


def _recall(path: Path) -> Verdict | None:
    with suppress(DamagedStateError, OSError):
        return record.load(Verdict, path, os.fspath(path))
    return None
