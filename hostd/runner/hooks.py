"""The steps of an attempt. Each has an `up` and a `down`; at the end every `down` runs, in reverse, come what may."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import Protocol

from hostd.failpoint import failpoint
from hostd.messages import Started
from hostd.ports import Capability, VmRequest
from hostd.runner.attempt import Attempt
from hostd.runner.journal import Phase
from hostd.runner.work import work


class Hook(Protocol):
    async def up(self, attempt: Attempt) -> None: ...
    async def down(self, attempt: Attempt) -> None: ...


class RepositoryHook:
    """Mirror, staging repository and merged base."""

    async def up(self, attempt: Attempt) -> None:
        wanted = attempt.assignment.repository
        if not wanted.url:
            return
        checkout = await attempt.parts.repositories.prepare(
            attempt.id, wanted.url, wanted.default_branch, wanted.dependencies, wanted.continue_from
        )
        attempt.update(
            staging=str(checkout.staging),
            base=checkout.base,
            default_branch=checkout.default_branch,
            conflicts=checkout.conflicts,
            merge_heads=checkout.merge_heads,
        )

    async def down(self, attempt: Attempt) -> None:
        if attempt.assignment.repository.url:
            await attempt.parts.repositories.discard(attempt.id)


class BundleHook:
    """The bundles of its agents."""

    async def up(self, attempt: Attempt) -> None:
        digests = attempt.assignment.digests
        paths = await asyncio.gather(*(attempt.parts.bundles.fetch(digest) for digest in digests))
        attempt.bundles = dict(zip(digests, paths, strict=True))

    async def down(self, attempt: Attempt) -> None:
        """Bundles stay cached."""


class VmHook:
    """A VM by the fastest tier."""

    async def up(self, attempt: Attempt) -> None:
        assignment = attempt.assignment
        request = VmRequest(assignment.image or attempt.parts.default_image, assignment.size, attempt.id)
        parts = attempt.parts
        attempt.vm = await parts.vacancy.claim(lambda: parts.vms.acquire(request), parts.timing.vacancy)
        attempt.watch_vm()
        attempt.update(vm_id=attempt.vm.id, template=attempt.vm.template)
        await failpoint("attempt_after_acquire")

    async def down(self, attempt: Attempt) -> None:
        if attempt.vm:
            await attempt.vm.stop()
            attempt.parts.vacancy.signal()


class AttachHook:
    """Sockets and rights go to the broker before the guest runs its first instruction."""

    async def up(self, attempt: Attempt) -> None:
        vm, assignment = attempt.require_vm(), attempt.assignment
        if not attempt.entry.machine_id:
            attempt.update(machine_id=secrets.token_hex(16))
        checkout = attempt.entry.checkout()
        capability = Capability(
            attempt_id=attempt.id,
            fence=assignment.attempt.fence,
            work=work(assignment, checkout, vm.broker_url, attempt.entry.machine_id),
            bundles=attempt.bundles,
            staging=checkout.staging if checkout else None,
            push_ref=assignment.repository.push_ref,
            artifacts=attempt.artifacts,
            limits=attempt.parts.limits,
        )
        await attempt.parts.broker.attach(capability, vm.listener, vm.doorbell)
        attempt.attached = True
        for number, text in attempt.entry.answers.items():
            await attempt.parts.broker.answer(attempt.id, int(number), text)

    async def down(self, attempt: Attempt) -> None:
        attempt.attached = False
        await attempt.parts.broker.detach(attempt.id)
        with contextlib.suppress(OSError):  # artifacts stay, an empty folder does not
            await asyncio.to_thread(attempt.artifacts.rmdir)


class StartHook:
    """Resume the VM, then ring its doorbell. Nothing starts on a lost lease."""

    async def up(self, attempt: Attempt) -> None:
        vm = attempt.require_vm()
        await attempt.parts.gate()
        boot = await vm.start()
        attempt.running_ns = time.monotonic_ns()
        attempt.update(phase=Phase.STARTED, boot=boot)
        await failpoint("attempt_after_start")
        await attempt.parts.broker.ring(attempt.id)
        attempt.parts.uplink.send(Started(attempt.ref, vm.id, boot))
        await attempt.settle()
        await attempt.save()

    async def down(self, attempt: Attempt) -> None:
        """Stopping is the VM hook's."""


class AdoptHook:
    """In place of the start: the VM of an earlier hostd goes on once the lease is good again."""

    async def up(self, attempt: Attempt) -> None:
        await attempt.parts.broker.ring(attempt.id)
        await attempt.settle()

    async def down(self, attempt: Attempt) -> None:
        """Stopping is the VM hook's."""


class GateHook:
    """An adopted attempt fetches nothing and opens nothing before its lease is known to be good."""

    async def up(self, attempt: Attempt) -> None:
        attempt.watch_vm()
        await attempt.parts.gate()

    async def down(self, attempt: Attempt) -> None:
        """Nothing to undo."""


REPOSITORY, BUNDLE, VM, ATTACH = RepositoryHook(), BundleHook(), VmHook(), AttachHook()
# Hooks of one stage run at the same time.
FRESH: tuple[tuple[Hook, ...], ...] = ((REPOSITORY, BUNDLE, VM), (ATTACH,), (StartHook(),))
ADOPTED: tuple[tuple[Hook, ...], ...] = ((GateHook(),), (BUNDLE,), (ATTACH,), (AdoptHook(),))
TEARDOWN: tuple[Hook, ...] = (ATTACH, VM, REPOSITORY)


async def run_stages(attempt: Attempt, stages: tuple[tuple[Hook, ...], ...]) -> None:
    """Stage after stage; the first error of a stage cancels its siblings and is raised as it is."""
    for stage in stages:
        tasks = [asyncio.ensure_future(hook.up(attempt)) for hook in stage]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
