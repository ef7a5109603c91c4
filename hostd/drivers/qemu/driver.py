"""Starts QEMU processes: unprivileged, sandboxed, with every file handed in."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

from ext import spawn
from hostd.drivers.port import Image, Slot, Template, Vmm, VmmHandle
from hostd.drivers.process import Process, boot_id, start_ticks
from hostd.drivers.qemu.command import MIB, Accel, Fd, Machine, Memory, command_line, machine_type
from hostd.drivers.qemu.console import SerialConsole
from hostd.drivers.qemu.cpu import cpu_class
from hostd.drivers.qemu.qmp import Qmp
from hostd.drivers.qemu.socket_path import CONSOLE, CONTROL, connect, listen
from hostd.drivers.qemu.vmm import QemuVmm
from hostd.errors import UnsupportedError, VmLostError
from hostd.ports import Capabilities, Isolation

PROGRAM = "qemu-system-x86_64"
HANDLE_VERSION = 1
NICE = 5
"""Guests yield to hostd and broker, which all of them wait for."""
START_S = 30.0
_ENVIRONMENT = (b"PATH=/usr/bin:/bin", b"LC_ALL=C.UTF-8")


class QemuDriver:
    """Implements `hostd.drivers.port.Driver` with one accelerator."""

    name = "qemu"
    capabilities = Capabilities(snapshot=True, pause=True, console=True, templates=True)

    def __init__(self, program: str, version: str, accel: Accel) -> None:
        self._program = program
        self._accel = accel
        self.version = version
        self.machine = machine_type(accel)
        self.cpu_class = cpu_class(accel)
        self.isolation = Isolation.KVM_QEMU if accel is Accel.KVM else Isolation.TCG

    async def spawn(self, slot: Slot, template: Template) -> Vmm:
        machine = Machine(slot.name, self._accel, slot.size, Memory.PRIVATE, incoming=True)
        return await self._start(slot, machine, template.image, memory=template.memory, state=template.state)

    async def boot(self, slot: Slot, image: Image, *, memory: int = -1, cold: bool = True) -> Vmm:
        kind = Memory.SHARED if memory >= 0 else Memory.OWN
        machine = Machine(slot.name, self._accel, slot.size, kind, incoming=False, cold=cold)
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

    async def recover(self, slot_folder: Path, handle: VmmHandle) -> Vmm:
        if handle.version != HANDLE_VERSION or handle.boot_id != boot_id():
            raise VmLostError("its handle is of another version or from before the machine was booted")
        process = Process.adopt(handle.pid, handle.start_ticks)
        try:
            return await _connect(slot_folder, process)
        except BaseException:
            process.close()
            raise

    async def _start(self, slot: Slot, machine: Machine, image: Image, *, memory: int = -1, state: int = -1) -> Vmm:
        with ExitStack() as stack:
            log = _log_pipe(stack)
            fds = self._fds(slot, image, memory, log[1], stack)
            pid, pidfd = await asyncio.to_thread(self._spawn, slot, machine, fds)
        process = Process(pid, pidfd)
        try:
            vmm = await _connect(slot.folder, process, log=log[0], state=_private_offset(state))
            if machine.incoming:
                await vmm.prepare(ignore_shared=machine.memory is Memory.PRIVATE)
        except BaseException as error:
            process.kill()
            reason = await process.exited()
            words = os.read(log[0], 4096).decode(errors="replace").strip() if isinstance(error, VmLostError) else ""
            process.close()
            if isinstance(error, VmLostError):
                raise VmLostError(f"QEMU did not start: {error}; {reason}; {words[-300:]}") from error
            raise
        return vmm

    def _fds(self, slot: Slot, image: Image, memory: int, log: int, stack: ExitStack) -> list[tuple[int, int]]:
        control = stack.enter_context(listen(slot.folder, CONTROL))
        console = stack.enter_context(listen(slot.folder, CONSOLE))
        given = [
            (log, Fd.LOG),
            (control.fileno(), Fd.CONTROL),
            (console.fileno(), Fd.CONSOLE),
            (slot.net.tap, Fd.TAP),
            (image.root, Fd.ROOT),
            (slot.scratch, Fd.SCRATCH),
            (image.kernel, Fd.KERNEL),
            (image.initrd, Fd.INITRD),
        ]
        return given + ([(memory, Fd.MEMORY)] if memory >= 0 else [])

    def _spawn(self, slot: Slot, machine: Machine, fds: list[tuple[int, int]]) -> tuple[int, int]:
        argv = [word.encode() for word in command_line(self._program, machine)]
        return spawn.spawn(
            argv,
            _ENVIRONMENT,
            uid=slot.uid,
            gid=slot.uid,
            netns=slot.net.ns,
            cgroup_procs=slot.cgroup_procs,
            rlimits=limits(machine),
            fds=fds,
            nice=NICE,
        )


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
        if not opened.done():
            raise VmLostError("it ended at once")
        await opened
        return QemuVmm(process, qmp, SerialConsole(connect(folder, CONSOLE)), log=log, state=state)
    except BaseException:
        qmp.close()
        raise
    finally:
        ended.cancel()
        opened.cancel()
        await asyncio.gather(ended, opened, return_exceptions=True)


def _log_pipe(stack: ExitStack) -> tuple[int, int]:
    """Takes QEMU's last words without ever holding it up: what does not fit is dropped."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    stack.callback(os.close, writing)
    return reading, writing


def _private_offset(fd: int) -> int:
    """A descriptor of the same file with an offset of its own, since loading a state moves it."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC) if fd >= 0 else -1


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
    with suppress(UnicodeDecodeError):
        return path, b" ".join(filter(None, found.groups())).decode("ascii")
    raise UnsupportedError(f"{path} --version says nothing that can be understood")
