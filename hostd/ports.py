"""Where the parts of hostd meet: plain data and the interfaces of the VM layer, the broker and git.

Standard library only. The runner talks to nothing else, so that each part can be built, tested and replaced alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


class Tier(StrEnum):
    """How a VM came up: paused VM resumed, restored in a waiting VMM, VMM spawned on demand, cold boot."""

    T0 = "T0"
    T1 = "T1"
    T1S = "T1s"
    T2 = "T2"


class Isolation(StrEnum):
    """Security boundary around a VM, from weakest to strongest."""

    SIM = "sim"
    TCG = "tcg"
    KVM_QEMU = "kvm-qemu"
    KVM_FIRECRACKER = "kvm-firecracker"


class VmState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class VmHealth(StrEnum):
    """Unknown until the first sign of life."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class VmSize:
    """Zero means the image's default."""

    vcpus: int = 0
    memory_mib: int = 0
    disk_mib: int = 0


@dataclass(frozen=True, slots=True)
class BootTiming:
    """Microseconds: time spent in acquire and start; from the same origin to the first request byte; see `Attempt`."""

    tier: Tier
    boot_us: int
    ready_us: int = 0
    agent_us: int = 0


@dataclass(frozen=True, slots=True)
class VmRequest:
    """`attempt_id` is None for a VM booted by hand."""

    image: str
    size: VmSize = VmSize()
    attempt_id: str | None = None


@dataclass(frozen=True, slots=True)
class VmSample:
    """Usage since the VM's start; `time_ns` is wall clock."""

    time_ns: int
    cpu_s: float
    memory_bytes: int
    private_bytes: int
    read_bytes: int
    write_bytes: int


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a driver can do."""

    snapshot: bool
    pause: bool
    console: bool
    templates: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a long operation, 0 to 1."""

    fraction: float
    message: str


ProgressSink = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Image:
    name: str
    digest: str
    size_bytes: int
    default_size: VmSize
    built_ns: int


@dataclass(frozen=True, slots=True)
class Template:
    digest: str
    image: str
    image_digest: str
    driver: str
    driver_version: str
    vcpus: int
    memory_mib: int
    size_bytes: int
    baked_ns: int


@dataclass(frozen=True, slots=True)
class CleanupCounts:
    """`cached` counts what was evicted from caches."""

    vms: int = 0
    namespaces: int = 0
    files: int = 0
    cgroups: int = 0
    cached: int = 0
    freed_bytes: int = 0
    details: tuple[str, ...] = ()

    def __add__(self, other: CleanupCounts) -> CleanupCounts:
        return CleanupCounts(
            self.vms + other.vms,
            self.namespaces + other.namespaces,
            self.files + other.files,
            self.cgroups + other.cgroups,
            self.cached + other.cached,
            self.freed_bytes + other.freed_bytes,
            (*self.details, *other.details),
        )


class Vm(Protocol):
    """One VM, used for one attempt, then thrown away."""

    @property
    def id(self) -> str: ...
    @property
    def attempt_id(self) -> str | None: ...
    @property
    def image(self) -> str: ...
    @property
    def size(self) -> VmSize:
        """Actual size, no zeros."""

    @property
    def driver(self) -> str: ...
    @property
    def template(self) -> str:
        """Digest of the template; empty for a cold boot."""

    @property
    def tier(self) -> Tier: ...
    @property
    def state(self) -> VmState: ...
    @property
    def created_ns(self) -> int:
        """Wall clock of the acquire."""

    @property
    def listener(self) -> int:
        """Listening TCP socket inside the VM's network. Stays the VM's: the broker gets a duplicate."""

    @property
    def doorbell(self) -> int:
        """Datagram socket inside the VM's network; -1: the guest needs no doorbell."""

    @property
    def broker_url(self) -> str:
        """The listener as the guest sees it, such as http://172.16.0.1:8000."""

    async def start(self) -> BootTiming:
        """Restore if needed, then resume. Once. `VmLostError` when the VMM failed; the VM is stopped then."""

    async def pause(self) -> None:
        """Idempotent; `VmLostError` when it is gone."""

    async def resume(self) -> None:
        """Idempotent; `VmLostError` when it is gone."""

    async def stop(self) -> None:
        """Idempotent, never fails; teardown is handed to the reaper."""

    async def died(self) -> str:
        """Completes with the reason when the VMM ends by itself; at once when it already has. Cancellable."""

    def sample(self) -> VmSample: ...
    def samples(self) -> Sequence[VmSample]:
        """Ring buffer, oldest first."""

    def console(self) -> AsyncIterator[bytes]:
        """Output from now on (drivers may replay recent output first), until the VM or the reader ends."""

    def type(self, data: bytes) -> None:
        """Key strokes for the console."""


class VmHost(Protocol):
    """The VM layer: pools over drivers."""

    @property
    def isolation(self) -> Isolation: ...
    @property
    def drivers(self) -> Sequence[str]: ...
    @property
    def capabilities(self) -> Capabilities: ...
    @property
    def warnings(self) -> Sequence[str]:
        """Remarks of the boot probe, for people."""

    async def recover(self) -> Sequence[Vm]:
        """Adopt VMs of an earlier hostd, running or paused, from their handles; kill what cannot be adopted.

        Called once, before `open`.
        """

    async def open(self, progress: ProgressSink) -> None:
        """Probe, load templates, fill the pool in the background."""

    async def acquire(self, request: VmRequest) -> Vm:
        """A VM by the fastest tier, not yet started. `HostFullError`, `TemplateError`, `VmLostError`."""

    def vms(self) -> Sequence[Vm]:
        """Acquired and not yet stopped."""

    def images(self) -> Sequence[Image]: ...
    def templates(self) -> Sequence[Template]: ...
    async def build_image(self, name: str, progress: ProgressSink) -> None: ...
    async def bake(self, image: str, size: VmSize, progress: ProgressSink) -> None: ...
    async def verify(self, digest: str, progress: ProgressSink) -> None:
        """`digest` or "all"."""

    async def cleanup(self) -> CleanupCounts:
        """Remove what belongs to no live VM: processes, namespaces, cgroups, files."""

    async def close(self, *, keep_vms: bool) -> None:
        """Stop everything, reaper drained. `keep_vms` leaves acquired VMs running with their handles on disk."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps the broker enforces per attempt."""

    events_bytes_per_s: int = 2 << 20
    events: int = 250_000
    events_bytes: int = 256 << 20
    logs_bytes: int = 64 << 20
    """Of log and progress. Beyond any of the three they are dropped, since the control plane keeps what it gets."""
    pack_bytes: int = 512 << 20
    artifact_bytes: int = 8 << 20
    artifacts_bytes: int = 64 << 20
    violations: int = 50


MOST_BUNDLES = 16


@dataclass(frozen=True, slots=True)
class Capability:
    """All that one VM may do at the broker; bound to its listening socket."""

    attempt_id: str
    fence: int
    work: Mapping[str, Any]
    """Fields of swarm.guest.v1.Work in JSON form, without entropy and time_ns, which each answer gets afresh."""
    bundles: Mapping[str, Path]
    """The tars that it may read, by their sha256; at most `MOST_BUNDLES`."""
    staging: Path | None
    """Bare repository served at /git/repo.git; None: the ticket has no repository."""
    push_ref: str = ""
    artifacts: Path | None = None
    """Folder for PUT artifacts; None: refused."""
    limits: Limits = field(default_factory=Limits)


@runtime_checkable
class BrokerEvents(Protocol):
    """What a broker tells; called on the event loop, must not block. Payloads stay opaque to hostd."""

    def first_byte(self, attempt_id: str, monotonic_ns: int) -> None: ...
    def agent_started(self, attempt_id: str, monotonic_ns: int) -> None: ...
    def alive(self, attempt_id: str, monotonic_ns: int) -> None:
        """The first sign of life after an `ask`."""

    def events(self, attempt_id: str, batch: bytes, *, logs: int = 0) -> None:
        """An encoded swarm.guest.v1.EventBatch, at most 512 KiB.

        `logs` > 0: the batch holds that many log lines and nothing else, so it may be dropped when the link lags.
        """

    def push(self, attempt_id: str, head: str) -> None:
        """`head` (hex object id) was accepted and scanned; wants `Repositories.push`, then `Broker.pushed`."""

    def outcome(self, attempt_id: str, outcome: bytes, *, succeeded: bool, head: str) -> None:
        """An encoded swarm.guest.v1.Outcome. `head` empty: nothing was pushed."""

    def progressed(self, attempt_id: str, *, asking: bool) -> None:
        """The guest did something new; `asking`: it waits for a person now."""

    def blocked(self, attempt_id: str, call: str) -> None:
        """A denied call, as one line "rule, target"."""

    def findings(self, attempt_id: str, findings: Sequence[str]) -> None:
        """Remarks of the push scan that did not block, one line each; replaces earlier ones."""

    def violation(self, attempt_id: str, reason: str) -> None:
        """The guest broke its protocol too often and must die."""


class Broker(Protocol):
    """Client of the broker process, which it starts, supervises and restarts (live capabilities are attached again)."""

    async def start(self, listener: BrokerEvents) -> None: ...
    async def stop(self) -> None: ...
    async def attach(self, capability: Capability, listener: int, doorbell: int) -> None:
        """Hand over both sockets; replaces an earlier capability of the same attempt. `BrokerError`."""

    async def ring(self, attempt_id: str) -> None:
        """Wake the guest: a datagram now and each second until its first byte, 10 at most."""

    async def ask(self, attempt_id: str) -> None:
        """Ping the guest; its next sign of life, whatever it is, is told as `alive`. Unknown attempts are fine."""

    async def answer(self, attempt_id: str, number: int, text: str) -> None: ...
    async def pushed(self, attempt_id: str, head: str, error: str | None) -> None:
        """The upstream push of `head` is done; `error` is text for the agent."""

    async def suspend(self, attempt_id: str) -> None:
        """Close upstream and client connections and accept none until `attach` or `restore`. Idempotent."""

    async def restore(self, attempt_id: str) -> None: ...
    async def detach(self, attempt_id: str) -> None:
        """Forget the attempt and close its connections. Idempotent, unknown attempts too."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """An accepted head that the base must contain."""

    ticket_key: str
    ref: str
    head: str


@dataclass(frozen=True, slots=True)
class Checkout:
    """A prepared repository. `base` is a hex object id; empty: the repository has no commit yet."""

    base: str
    staging: Path
    default_branch: str
    conflicts: tuple[str, ...] = ()
    merge_heads: tuple[str, ...] = ()


class Repositories(Protocol):
    """Git on the host: mirrors, staging repositories, the courier."""

    async def prepare(
        self, attempt_id: str, url: str, default_branch: str, dependencies: Sequence[Dependency], continue_from: str
    ) -> Checkout:
        """Fetch the mirror (once at a time per URL), make the staging repository and the base.

        See `hostd.git.blame` for what is raised. Again for the same attempt: starts over.
        """

    async def adopt(self, attempt_id: str, url: str) -> None:
        """Know again where an attempt of an earlier hostd pushes to. `RepositoryRefusedError`."""

    async def push(self, attempt_id: str, head: str, ref: str, *, replace: bool = False) -> None:
        """Staging to upstream: create `ref` or fast-forward it, with `replace` set it. The same head again is fine.

        See `hostd.git.blame` for what is raised.
        """

    async def discard(self, attempt_id: str) -> None:
        """Remove the staging repository. Idempotent."""

    async def cleanup(self, keep: Collection[str]) -> CleanupCounts:
        """Remove staging repositories of attempts not in `keep`, and mirrors that no attempt uses beyond the budget."""

    async def pack(self) -> tuple[str, ...]:
        """Pack a mirror that fetches have left crowded, which may take minutes; one line about what was done."""
