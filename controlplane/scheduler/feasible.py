"""Which kinds of host may run which shapes of ticket, and why the others may not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from controlplane.domain.host import Capacity, Host
from controlplane.domain.ticket import Isolation
from controlplane.scheduler.demand import Shape, fits, limits

_NAMES: Final = {
    Isolation.SIM: "sim",
    Isolation.TCG: "tcg",
    Isolation.KVM_QEMU: "kvm-qemu",
    Isolation.KVM_FIRECRACKER: "kvm-firecracker",
}
FULL: Final = "waits for a free place"


@dataclass(frozen=True, slots=True)
class Kind:
    """Hosts of one kind differ only in how much of them is free. No images named: the host makes what it is asked."""

    isolation: Isolation
    labels: frozenset[tuple[str, str]]
    images: frozenset[str]
    capacity: Capacity


def kind_of(host: Host) -> Kind:
    return Kind(host.isolation, frozenset(host.labels.items()), frozenset(host.images), limits(host.capacity))


def floor(shape: Shape, *, real: bool) -> Isolation:
    """Weakest class that may run the shape. Unasked, work runs without a VM only where no host has any (`real`)."""
    return shape.isolation or (Isolation.TCG if real else Isolation.SIM)


def refusal(shape: Shape, kind: Kind, *, real: bool) -> tuple[int, str]:
    """(0, "") when hosts of the kind may run the shape once there is room; else how near it came, and why not."""
    wanted = floor(shape, real=real)
    if kind.isolation < wanted:
        return 1, f"no host isolates as strongly as {_NAMES[wanted]}"
    if kind.images and shape.image not in kind.images:
        return 2, f"no host has the image {shape.image}"
    if missing := shape.labels - kind.labels:
        name, value = min(missing)
        return 3, f"no host has the label {name}={value}"
    if not fits(shape.demand, kind.capacity):
        return 4, "asks for more than any host that could take it has"
    return 0, ""


def explain(shape: Shape, kinds: Iterable[Kind], *, real: bool, closed: int) -> str:
    """Why a shape finds no place now: the reason of the kind that came nearest. `closed` hosts are known but shut."""
    refusals = [refusal(shape, kind, real=real) for kind in kinds]
    if not refusals:
        return f"none of {closed} hosts takes work now" if closed else "no host is attached"
    nearest = max(refusals)
    return FULL if (0, "") in refusals else nearest[1]
