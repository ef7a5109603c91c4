"""What the pool asks of a driver, and what it gives to one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ext.netns import Net
from hostd.ports import Capabilities, Isolation, VmSample, VmSize


@dataclass(frozen=True, slots=True)
class Slot:
    """The resources of one VM, made for it and thrown away with it.

    `name` marks its process, `uid` (also its gid) belongs to no other VM, `scratch` is the descriptor of its disk,
    `folder` holds its sockets and handle and is closed to everybody but root.
    """

    vm_id: str
    name: str
    uid: int
    size: VmSize
    net: Net
    scratch: int
    cgroup_procs: tuple[bytes, ...]
    folder: Path


class Image(Protocol):
    """Descriptors of a verified image."""

    @property
    def digest(self) -> str: ...
    @property
    def kernel(self) -> int: ...
    @property
    def initrd(self) -> int: ...
    @property
    def root(self) -> int: ...


class Template(Protocol):
    """A verified template: `memory` is a sealed memfd, `state` a descriptor of the device state."""

    @property
    def image(self) -> Image: ...
    @property
    def digest(self) -> str: ...
    @property
    def memory(self) -> int: ...
    @property
    def state(self) -> int: ...


class Console(Protocol):
    """The serial line of a VM, relayed as it is."""

    def read(self) -> AsyncIterator[bytes]:
        """Recent output, then output as it comes, until the VM ends."""

    def type(self, data: bytes) -> None: ...


class Vmm(Protocol):
    """One VMM process. Verbs raise `VmLostError` when it is gone, hangs or refuses."""

    @property
    def pid(self) -> int: ...
    @property
    def control(self) -> int:
        """Descriptor of its control socket."""

    @property
    def console(self) -> Console: ...
    async def restore(self) -> None:
        """Load the template it was spawned for; the VM is paused then. Once."""

    def resume_now(self, timeout_ms: int) -> int:
        """The first resume after `restore`, without leaving the calling thread: the fastest way.

        Returns `time.monotonic_ns()` of the answer. `TimeoutError`: say `resume` instead; other `OSError`: it is lost.
        """

    async def resume(self) -> None: ...
    async def pause(self) -> None: ...
    async def running(self) -> bool: ...
    async def save(self, state: int) -> None:
        """Pause, and write the device state to a file. The memory is in the memfd that it was booted with."""

    async def snapshot(self, target: int) -> None:
        """Pause, and write memory and device state to a file; `Driver.spawn` with `stream` brings it back."""

    async def exited(self) -> str:
        """Completes with the reason once the process is gone."""

    def sample(self) -> VmSample: ...
    def kill(self) -> None:
        """End the process at once. Idempotent."""

    def close(self) -> None:
        """Give up what is held here; the process is not touched. Idempotent."""


@dataclass(frozen=True, slots=True)
class VmmHandle:
    """What finds a VMM again after a restart of hostd. `start_ticks` tells it from a later process with its pid."""

    version: int
    pid: int
    start_ticks: int
    boot_id: str


class Driver(Protocol):
    """Starts VMMs of one kind."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str:
        """Part of a template's identity: another version never loads it."""

    @property
    def machine(self) -> str:
        """Machine and accelerator; part of a template's identity."""

    @property
    def cpu_class(self) -> str:
        """Processors that can run each other's snapshots; part of a template's identity."""

    @property
    def isolation(self) -> Isolation: ...
    @property
    def capabilities(self) -> Capabilities: ...
    async def spawn(self, slot: Slot, template: Template) -> Vmm:
        """A VMM that waits for `restore`."""

    async def boot(self, slot: Slot, image: Image, *, memory: int = -1) -> Vmm:
        """A machine before its first instruction; `resume` starts it.

        `memory` is a memfd that will hold the guest's memory, for a template.
        """

    async def revive(self, slot: Slot, image: Image, stream: int) -> Vmm:
        """A paused VM from what `Vmm.snapshot` wrote."""

    def handle(self, vmm: Vmm) -> VmmHandle: ...
    async def recover(self, slot_folder: Path, handle: VmmHandle) -> Vmm:
        """The VMM behind a handle, with nothing changed about it. `VmLostError` when it is gone or answers no more."""
