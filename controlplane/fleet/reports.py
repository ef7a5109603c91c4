"""What a host reports, as changes to the store. Messages are decoded before the writer is asked for its time."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, TypedDict

from controlplane import metrics
from controlplane.api.convert.cleanup import report_in
from controlplane.api.convert.common import seconds
from controlplane.api.convert.ticket import boot_in
from controlplane.api.convert.vm import vm_in
from controlplane.domain.cleanup import PERIODIC, CleanupRun
from controlplane.domain.lease import TIMES, LeaseRef, LeaseTimes
from controlplane.domain.refs import is_object_id
from controlplane.domain.ticket import BootTier
from controlplane.domain.vm import Vm, VmState
from controlplane.errors import StaleFence, SwarmError
from controlplane.fleet import guest
from controlplane.fleet.admission import MOST_ATTEMPTS, names
from controlplane.fleet.wire import ref_in, ref_out, refs_in, refs_out
from controlplane.ports import Page, Store, Tx
from controlplane.usecases import placement
from controlplane.usecases.placement import AgentEvent, AttemptResult
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2

log = logging.getLogger(__name__)

Change: TypeAlias = Callable[[Tx, float], pb.ControlEvent | None]

# Looked up once: these are counted with every attempt.
BOOTED: Final = {tier: metrics.BOOT_SECONDS.labels(tier.value or "none") for tier in BootTier}
ENDED: Final = {ok: metrics.ATTEMPTS.labels("succeeded" if ok else "failed") for ok in (True, False)}
MOST_VMS: Final = 1000
MOST_NOTES: Final = 200
LONGEST_NOTE: Final = 500
_VM_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Report:
    """Messages of one host that become one commit: their effects together with the position."""

    host_id: str
    boot_id: str
    messages: Sequence[tuple[int, Sequence[Change]]]
    refs: Sequence[LeaseRef] = ()

    def apply(self, tx: Tx, now: float) -> list[pb.ControlEvent]:
        """Applies what was not applied before; answers what to tell the host."""
        done = tx.link_position(self.host_id, self.boot_id)
        fresh = [(seq, changes) for seq, changes in self.messages if seq > done]
        placement.look_ahead(tx, self.refs)
        answers = [change(tx, now) for _, changes in fresh for change in changes]
        if fresh:
            tx.set_link_position(self.host_id, self.boot_id, fresh[-1][0])
        return [answer for answer in answers if answer is not None]


def report_of(
    host_id: str, boot_id: str, requests: Sequence[service_pb2.AttachRequest], times: LeaseTimes = TIMES
) -> Report:
    messages = [(request.seq, tuple(changes(host_id, request.events, times))) for request in requests]
    refs = {change.ref: None for _, found in messages for change in found if isinstance(change, Guarded)}
    return Report(host_id, boot_id, messages, tuple(refs))


def changes(  # noqa: C901  # one line per kind
    host_id: str, events: Sequence[pb.HostEvent], times: LeaseTimes
) -> Iterator[Change]:
    """One change per event that concerns the store."""
    for event in events:
        match event.WhichOneof("event"):
            case "renewal":
                yield renewal(host_id, event.renewal, times)
            case "started":
                yield started(host_id, event.started)
            case "running":
                yield running(host_id, event.running)
            case "answered":
                yield answered(host_id, event.answered)
            case "stopped":
                yield stopped(host_id, event.stopped)
            case "attempt_events":
                yield agent_events(host_id, event.attempt_events)
            case "finished":
                yield finished(host_id, event.finished, times)
            case "vm_report":
                yield vm_report(host_id, event.vm_report)
            case "cleaned":
                yield cleaned(host_id, event.cleaned)
            case "inventory":
                yield inventory(host_id, event.inventory)
            case _:
                continue  # for the fleet's memory only, or of a newer host


def renewal(host_id: str, message: pb.Renewal, times: LeaseTimes) -> Change:
    refs = refs_in(message.attempts[:MOST_ATTEMPTS])

    def apply(tx: Tx, now: float) -> pb.ControlEvent:
        tx.host_seen(host_id, now)
        return renewed(message, placement.renew(tx, host_id, refs, now, times))

    return apply


async def confirmed(store: Store, host_id: str, message: pb.Renewal) -> pb.ControlEvent:
    """The answer to a renewal while nothing can be stored."""
    refs = refs_in(message.attempts[:MOST_ATTEMPTS])
    return renewed(message, await store.read(lambda reader: placement.confirm(reader, host_id, refs)))


def renewed(message: pb.Renewal, answer: placement.Renewed) -> pb.ControlEvent:
    told = pb.Renewed(nonce=message.nonce, attempts=refs_out(answer.renewed), stale=refs_out(answer.stale))
    return pb.ControlEvent(renewed=told)


def started(host_id: str, message: pb.AttemptStarted) -> Change:
    ref, boot = ref_in(message.attempt), boot_in(message.boot)
    BOOTED[boot.tier].observe(boot.boot_us / 1e6)
    return Guarded(ref, lambda tx, now: placement.started(tx, host_id, ref, now, vm_id=message.vm_id[:64], boot=boot))


def running(host_id: str, message: pb.AttemptRunning) -> Change:
    ref, boot = ref_in(message.attempt), boot_in(message.boot)
    return Guarded(ref, lambda tx, now: placement.running(tx, host_id, ref, now, boot))


def answered(host_id: str, message: pb.AttemptAnswered) -> Change:
    ref = ref_in(message.attempt)
    return Guarded(ref, lambda tx, now: placement.answered(tx, host_id, ref, now, message.number))


def stopped(host_id: str, message: pb.AttemptStopped) -> Change:
    ref = ref_in(message.attempt)
    return Guarded(ref, lambda tx, now: placement.stopped(tx, host_id, ref, now))


def agent_events(host_id: str, message: pb.AttemptEvents) -> Change:
    ref = ref_in(message.attempt)
    try:
        events = guest.events(message.batch)
    except guest.Hostile as fault:
        log.warning("events of an agent are dropped", extra={"attempt": ref.attempt_id, "reason": str(fault)})
        events = [AgentEvent(seq=0, type="blocked", text=f"unreadable events: {fault}")]
    return Guarded(ref, lambda tx, now: placement.agent_events(tx, host_id, ref, now, events))


def finished(host_id: str, message: pb.AttemptFinished, times: LeaseTimes) -> Change:
    ref, result = ref_in(message.attempt), result_of(message)
    ENDED[result.ok].inc()
    return Guarded(ref, lambda tx, now: placement.finished(tx, host_id, ref, now, result, times=times))


def result_of(message: pb.AttemptFinished) -> AttemptResult:
    """What the host says, and of the guest's own words only how it ended and why."""
    notes = Notes(
        findings=noted(message.findings),
        blocked_calls=noted(message.blocked_calls),
        template_digest=message.template_digest[:64],
    )
    if message.cause:
        return AttemptResult(ok=False, cause=message.cause, reason=guest.clean(message.reason), **notes)
    try:
        said = guest.outcome(message.outcome)
    except guest.Hostile as fault:
        return AttemptResult(ok=False, cause="violation", reason=str(fault), **notes)
    if any(oid and not is_object_id(oid) for oid in (message.head, message.base)):
        return AttemptResult(ok=False, cause="violation", reason="a head or base is no object id", **notes)
    return AttemptResult(
        ok=said.status == "succeeded",
        exit_code=said.exit_code,
        head=message.head,
        base=message.base,
        phase=said.phase,
        guest_cause=said.cause,
        reason=said.summary,
        **notes,
    )


class Notes(TypedDict):
    """What goes with every result."""

    findings: tuple[str, ...]
    blocked_calls: tuple[str, ...]
    template_digest: str


def noted(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(guest.clean(line)[:LONGEST_NOTE] for line in lines[:MOST_NOTES]) if lines else ()


def vm_report(host_id: str, message: pb.VmReport) -> Change:
    """VMs of this host only; what it no longer names is gone."""
    reported = [vm_in(vm, host_id) for vm in message.vms[:MOST_VMS] if _VM_ID.fullmatch(vm.id)]

    def apply(tx: Tx, now: float) -> None:
        known, _ = tx.vms(host_id, include_stopped=False, page=Page(size=MOST_VMS))
        ours = {vm.id for vm in known}
        mine = [dated(vm, now) for vm in reported if vm.id in ours or owned(tx, vm)]
        named = {vm.id for vm in mine}
        gone = [replace(vm, state=VmState.STOPPED, stopped_at=now) for vm in known if vm.id not in named]
        if mine or gone:
            tx.save_vms([*mine, *gone])

    return apply


def dated(vm: Vm, now: float) -> Vm:
    """A stopped VM is forgotten some day after it stopped, whether its host says when that was or not."""
    return replace(vm, stopped_at=now) if vm.state is VmState.STOPPED and vm.stopped_at is None else vm


def cleaned(host_id: str, message: pb.Cleaned) -> Change:
    """A cleanup that the host ran by itself, at a time by its own clock."""
    run = CleanupRun(
        host_id=host_id,
        by=PERIODIC,
        started_at=seconds(message.started_at),
        finished_at=seconds(message.finished_at),
        report=report_in(message.report),
        error=guest.clean(message.error)[:LONGEST_NOTE],
    )
    return lambda tx, _now: tx.add_cleanup_run(run)


def inventory(host_id: str, message: pb.InventoryReport) -> Change:
    """Images that were built or removed since the host said hello; its templates are for the fleet's memory only."""
    images = names([image.name for image in message.images])

    def apply(tx: Tx, _now: float) -> None:
        host = tx.host(host_id)
        if host is not None and host.images != images:
            tx.save_host(replace(host, images=images))

    return apply


def owned(tx: Tx, vm: Vm) -> bool:
    """Whether the id is new, or was this host's before."""
    earlier = tx.vm(vm.id)
    return earlier is None or earlier.host_id == vm.host_id


@dataclass(frozen=True, slots=True)
class Guarded:
    """An effect on a lease; when it is over the host is told to let go, and nothing else happens."""

    ref: LeaseRef
    effect: Callable[[Tx, float], None]

    def __call__(self, tx: Tx, now: float) -> pb.ControlEvent | None:
        try:
            self.effect(tx, now)
        except StaleFence as fault:
            return pb.ControlEvent(revoke=pb.Revoke(attempt=ref_out(self.ref), reason=fault.message))
        except SwarmError as fault:
            log.warning("a report is dropped", extra={"attempt": self.ref.attempt_id, "reason": fault.message})
        return None
