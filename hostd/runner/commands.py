"""Commands of the control plane: each runs on its own and answers with progress and one end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from hostd import messages as m
from hostd.errors import HostError, InvalidRequestError, NotFoundError, UnsupportedError, VmLostError
from hostd.ports import Progress, Vm, VmHost
from hostd.runner.attempt import Attempt
from hostd.runner.holds import Hold
from hostd.runner.manual import ManualVm, ManualVms
from hostd.runner.parts import Consoles, Uplink

log = logging.getLogger("hostd.runner")

MOST_VMS = 64
PROGRESS_EVERY_S = 0.2


class Fleet(Protocol):
    """What commands need of the runner."""

    manual: ManualVms

    def attempt_of(self, vm_id: str) -> Attempt | None: ...
    def record_of(self, vm: Vm) -> m.VmRecord: ...
    async def cleanup(self) -> m.CleanupReport: ...
    def poke(self) -> None: ...


class Answers:
    """The updates of one command; progress is thinned out."""

    def __init__(self, command_id: str, uplink: Uplink) -> None:
        self._id = command_id
        self._uplink = uplink
        self._last = 0.0

    def progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last >= PROGRESS_EVERY_S:
            self._last = now
            self._uplink.send(m.CommandUpdate(self._id, progress.fraction, progress.message[:500]))

    def done(self, *, vms: tuple[m.VmRecord, ...] = (), cleanup: m.CleanupReport | None = None) -> None:
        self._uplink.send(m.CommandUpdate(self._id, 1.0, done=True, vms=vms, cleanup=cleanup))

    def failed(self, code: str, text: str) -> None:
        self._uplink.send(m.CommandUpdate(self._id, done=True, error_code=code, error=text[:2000]))


class Commands:
    """`take` a command; `close` ends those under way."""

    def __init__(self, host: VmHost, fleet: Fleet, uplink: Uplink, consoles: Consoles, default_image: str) -> None:
        self._host = host
        self._fleet = fleet
        self._uplink = uplink
        self._consoles = consoles
        self._default_image = default_image
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, command: m.Command) -> None:
        task = asyncio.ensure_future(self._run(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, command: m.Command) -> None:
        answers = Answers(command.command_id, self._uplink)
        try:
            await self._do(command, answers)
        except HostError as error:
            answers.failed(error.code, str(error))
        except asyncio.CancelledError:
            answers.failed("CANCELLED", "the host daemon is stopping")
            raise
        except Exception:
            log.exception("command failed", extra={"command_id": command.command_id})
            answers.failed("INTERNAL", "the host failed to carry the command out; its log says why")
        finally:
            self._fleet.poke()

    async def _do(self, command: m.Command, answers: Answers) -> None:
        match command.verb:
            case m.BootVms(count, image):
                answers.done(vms=await self._boot(count, image or self._default_image))
            case m.PauseVm(vm_id) | m.ResumeVm(vm_id):
                await self._hold(vm_id, paused=isinstance(command.verb, m.PauseVm))
                answers.done(vms=self._records(vm_id))
            case m.TerminateVm(vm_id):
                await self._terminate(vm_id)
                answers.done()
            case m.OpenConsole(vm_id):
                await self._consoles.relay(command.command_id, self._vm(vm_id))
                answers.done()
            case m.Cleanup():
                answers.done(cleanup=await self._fleet.cleanup())
            case verb:
                await self._templates(verb, answers.progress)
                answers.done()

    def _templates(self, verb: m.Verb, progress: Callable[[Progress], None]) -> Awaitable[None]:
        match verb:
            case m.BuildImage(name):
                return self._host.build_image(name or self._default_image, progress)
            case m.BakeTemplate(image, size):
                return self._host.bake(image or self._default_image, size, progress)
            case m.VerifyTemplate(digest):
                return self._host.verify(digest or "all", progress)
            case _:
                raise UnsupportedError("this version of the host does not know the command")

    def _vm(self, vm_id: str) -> Vm:
        for vm in self._host.vms():
            if vm.id == vm_id:
                return vm
        raise NotFoundError(f"no VM {vm_id[:64]!r} on this host")

    def _owner(self, vm_id: str) -> Attempt | ManualVm:
        owner = self._fleet.attempt_of(vm_id) or self._fleet.manual.get(vm_id)
        if owner is None:
            raise NotFoundError(f"no VM {vm_id[:64]!r} on this host")
        return owner

    def _records(self, vm_id: str) -> tuple[m.VmRecord, ...]:
        return tuple(self._fleet.record_of(vm) for vm in self._host.vms() if vm.id == vm_id)

    async def _boot(self, count: int, image: str) -> tuple[m.VmRecord, ...]:
        if not 1 <= count <= MOST_VMS:
            raise InvalidRequestError(f"count must be 1 to {MOST_VMS}, not {count}")
        booted = await self._fleet.manual.boot(count, image)
        return tuple(self._fleet.record_of(manual.vm) for manual in booted)

    async def _hold(self, vm_id: str, *, paused: bool) -> None:
        if not self._host.capabilities.pause:
            raise UnsupportedError("the driver of this host cannot pause VMs")
        owner = self._owner(vm_id)
        if isinstance(owner, ManualVm):
            await self._fleet.manual.hold(owner, paused=paused)
        elif paused:
            await owner.hold(Hold.OPERATOR)
        else:
            await owner.release(Hold.OPERATOR)

    async def _terminate(self, vm_id: str) -> None:
        owner = self._owner(vm_id)
        if isinstance(owner, ManualVm):
            await self._fleet.manual.stop(owner)
        else:
            owner.end(VmLostError("the VM was terminated by an operator"))
            await owner.require_vm().stop()
