"""Starts QEMU processes: unprivileged, sandboxed, with every file handed in."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
import signal
import stat
from contextlib import ExitStack
from pathlib import Path

from ext import spawn
from hostd.drivers.port import Image, Slot, Template, Vmm, VmmHandle
from hostd.drivers.process import Process, boot_id, start_ticks
from hostd.drivers.qemu.command import MIB, Accel, Fd, Machine, Memory, command_line, machine_type
from hostd.drivers.qemu.console import SerialConsole
from hostd.drivers.qemu.cpu import cpu_class, tsc_khz
from hostd.drivers.qemu.qmp import Qmp
from hostd.drivers.qemu.socket_path import CONSOLE, CONTROL, connect, listen
from hostd.drivers.qemu.vmm import QemuVmm
from hostd.errors import UnsupportedError, VmLostError
from hostd.failpoint import failpoint
from hostd.ports import Capabilities, Isolation
from hostd.thread import make

KVM = Path("/dev/kvm")
_GROUP = stat.S_IRGRP | stat.S_IWGRP
_ANYBODY = stat.S_IROTH | stat.S_IWOTH
PROGRAM = "qemu-system-x86_64"
HANDLE_VERSION = 1
START_S = 30.0
_ENVIRONMENT = (b"PATH=/usr/bin:/bin", b"LC_ALL=C.UTF-8")


class QemuDriver:
    """Implements `hostd.drivers.port.Driver` with one accelerator."""

    name = "qemu"
    capabilities = Capabilities(snapshot=True, pause=True, console=True, templates=True)

    def __init__(self, program: str, version: str, accel: Accel) -> None:
        self._program = program
        self._accel = accel
        self._tsc_khz = tsc_khz()
        self.version = version
        self.machine = machine_type(accel)
        self.cpu_class = cpu_class(accel)
        self.isolation = Isolation.KVM_QEMU if accel is Accel.KVM else Isolation.TCG

    async def spawn(self, slot: Slot, template: Template) -> Vmm:
        machine = Machine(slot.name, self._accel, slot.size, Memory.PRIVATE, incoming=True)
        return await self._start(slot, machine, template.image, memory=template.memory, state=template.state)

    async def boot(self, slot: Slot, image: Image, *, memory: int = -1) -> Vmm:
        kind = Memory.SHARED if memory >= 0 else Memory.OWN
        machine = Machine(slot.name, self._accel, slot.size, kind, incoming=False, tsc_khz=self._tsc_khz)
        return await self._start(slot, machine, image, memory=memory)

    async def revive(self, slot: Slot, image: Image, stream: int) -> Vmm:
        machine = Machine(slot.name, self._accel, slot.size, Memory.OWN, incoming=True)
        vmm = await self._start(slot, machine, image, state=stream)
        try:
            await vmm.restore()
        except BaseException:
            vmm.kill()
            vmm.close()
            raise
        return vmm

    def handle(self, vmm: Vmm) -> VmmHandle:
        return VmmHandle(HANDLE_VERSION, vmm.pid, start_ticks(vmm.pid), boot_id())

    @staticmethod
    async def recover(slot_folder: Path, handle: VmmHandle) -> Vmm:
        if handle.version != HANDLE_VERSION or handle.boot_id != boot_id():
            raise VmLostError("its handle is of another version or from before the machine was booted")
        process = Process.adopt(handle.pid, handle.start_ticks)
        try:
            return await _connect(slot_folder, process)
        except BaseException:
            process.close()
            raise

    async def _start(self, slot: Slot, machine: Machine, image: Image, *, memory: int = -1, state: int = -1) -> Vmm:
        log, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)  # what does not fit is dropped: QEMU is never held up
        with ExitStack() as on_failure, ExitStack() as given:
            on_failure.callback(os.close, log)
            given.callback(os.close, theirs)
            fds = _descriptors(slot, image, memory, theirs, given)
            pid, pidfd = await make(_discard, self._spawn, slot, machine, fds)
            on_failure.pop_all()
        return await self._connected(slot, machine, Process(pid, pidfd), log, state)

    async def _connected(self, slot: Slot, machine: Machine, process: Process, log: int, state: int) -> Vmm:
        try:
            await failpoint("vmm_after_spawn")
            vmm = await _connect(slot.folder, process, log=log, state=_own_offset(state))
        except BaseException as error:
            await _abandon(process, log, error)
            raise
        try:
            if machine.incoming:
                await vmm.prepare(ignore_shared=machine.memory is Memory.PRIVATE)
            await failpoint("vmm_after_prepare")
        except BaseException:
            vmm.kill()
            await process.exited()
            vmm.close()
            raise
        return vmm

    def _spawn(self, slot: Slot, machine: Machine, fds: list[tuple[int, int]]) -> tuple[int, int]:
        argv = [word.encode() for word in command_line(self._program, machine)]
        return spawn.spawn(
            argv,
            _ENVIRONMENT,
            uid=slot.uid,
            gid=(kvm_group(slot.uid) if self._accel is Accel.KVM else None) or slot.uid,
            netns=slot.net.ns,
            cgroup_procs=slot.cgroup_procs,
            rlimits=limits(machine),
            fds=fds,
        )


def _descriptors(slot: Slot, image: Image, memory: int, log: int, stack: ExitStack) -> list[tuple[int, int]]:
    """What the VMM is given, as (descriptor here, descriptor there); the listening sockets live in it from now on."""
    control = stack.enter_context(listen(slot.folder, CONTROL))
    console = stack.enter_context(listen(slot.folder, CONSOLE))
    given = {
        Fd.LOG: log,
        Fd.CONTROL: control.fileno(),
        Fd.CONSOLE: console.fileno(),
        Fd.TAP: slot.net.tap,
        Fd.ROOT: image.root,
        Fd.SCRATCH: slot.scratch,
        Fd.KERNEL: image.kernel,
        Fd.INITRD: image.initrd,
        Fd.MEMORY: memory,
    }
    return [(here, int(there)) for there, here in given.items() if here >= 0]


def limits(machine: Machine) -> list[tuple[int, int, int]]:
    """Resource limits of a VMM: they hold where cgroups do not. (resource, soft, hard)"""
    memory = machine.size.memory_mib * MIB
    largest_file = max(machine.size.disk_mib * MIB, 2 * memory) + 64 * MIB
    values = {
        resource.RLIMIT_AS: 2 * memory + 4096 * MIB,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: largest_file,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_NOFILE: 128,
        resource.RLIMIT_NPROC: 128,
    }
    return [(number, value, value) for number, value in values.items()]


async def _connect(folder: Path, process: Process, *, log: int = -1, state: int = -1) -> QemuVmm:
    control = connect(folder, CONTROL)
    qmp = Qmp(control)
    ended = asyncio.ensure_future(process.exited())
    opened = asyncio.ensure_future(qmp.open(START_S))
    try:
        await asyncio.wait({ended, opened}, return_when=asyncio.FIRST_COMPLETED)
        await (opened if opened.done() else _never(ended))
        return QemuVmm(process, qmp, SerialConsole(connect(folder, CONSOLE)), log=log, state=state)
    except BaseException:
        qmp.close()
        raise
    finally:
        ended.cancel()
        opened.cancel()
        await asyncio.gather(ended, opened, return_exceptions=True)


async def _never(ended: asyncio.Future[str]) -> None:
    await ended
    raise VmLostError("it ended at once")


def _own_offset(fd: int) -> int:
    """A descriptor of the same file with an offset of its own, since loading a state moves it."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC) if fd >= 0 else -1


def _discard(started: tuple[int, int]) -> None:
    """End a process that nobody waits for any more."""
    pid, pidfd = started
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(pidfd)


async def _abandon(process: Process, log: int, error: BaseException) -> None:
    """End a VMM that did not come up; its last words go into the error."""
    process.kill()
    reason = await process.exited()
    process.close()
    try:
        words = os.read(log, 4096).decode(errors="replace").strip()
    except BlockingIOError:
        words = ""
    os.close(log)
    if isinstance(error, VmLostError):
        raise VmLostError(f"QEMU did not start: {error}; {reason}; {words[-300:]}") from error


def kvm_group(own: int) -> int | None:
    """The group with which a VMM may open KVM: its `own` where anybody may, None where nobody but root may.

    The root group is never given: it would open more than this device.
    """
    try:
        facts = KVM.stat()
    except OSError:
        return None
    if facts.st_mode & _ANYBODY == _ANYBODY:
        return own
    return facts.st_gid if facts.st_mode & _GROUP == _GROUP and facts.st_gid else None


async def find(program: str = PROGRAM) -> tuple[str, str]:
    """Path and version of QEMU. `UnsupportedError` when it is not installed or does not say its version."""
    path = shutil.which(program)
    if path is None:
        raise UnsupportedError(f"{program} is not installed; install QEMU for x86 (Debian: qemu-system-x86)")
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        pid, pidfd = spawn.spawn(
            [path.encode(), b"--version"], _ENVIRONMENT, uid=os.getuid(), gid=os.getgid(), fds=[(writing, 1)]
        )
    finally:
        os.close(writing)
    process = Process(pid, pidfd)
    try:
        async with asyncio.timeout(START_S):
            await process.exited()
        found = re.search(rb"version (\S+)(?: \(([^)\n]+)\))?", os.read(reading, 4096))
    finally:
        process.kill()
        process.close()
        os.close(reading)
    if found is None:
        raise UnsupportedError(f"{path} --version says nothing that can be understood")
    return path, b" ".join(filter(None, found.groups())).decode(errors="replace")
