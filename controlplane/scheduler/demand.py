"""What a ticket asks of a host, in numbers and in kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from controlplane.domain.host import Capacity
from controlplane.domain.ticket import Isolation, Resources

# The default image's size: what a ticket that names none is counted for.
DEFAULT: Final = Capacity(vms=1, vcpus=1, memory_mib=512, disk_mib=4096)
DEFAULT_IMAGE: Final = "default"
NOTHING: Final = Capacity()
UNLIMITED: Final = 1 << 48


@dataclass(frozen=True, slots=True)
class Shape:
    """Tickets of one shape fit the same hosts: where one finds no place, no other does."""

    demand: Capacity
    isolation: Isolation
    labels: frozenset[tuple[str, str]]
    image: str
    number: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", hash((self.demand, self.isolation, self.labels, self.image)))

    def __hash__(self) -> int:
        """Reckoned once: shapes are looked up all the time."""
        return self.number


def shape_of(resources: Resources, agent_image: str) -> Shape:
    """The ticket's own image wins over its agent's."""
    image = resources.image or agent_image or DEFAULT_IMAGE
    labels = frozenset(resources.labels.items())
    return _shape(demand_of(resources), resources.isolation, labels, image)


def demand_of(resources: Resources) -> Capacity:
    return _demand(resources.vcpus, resources.memory_mib, resources.disk_mib)


# There are few shapes and many tickets; one object for each makes it cheap to tell them apart.
@lru_cache(4096)
def _shape(demand: Capacity, isolation: Isolation, labels: frozenset[tuple[str, str]], image: str) -> Shape:
    return Shape(demand, isolation, labels, image)


@lru_cache(4096)
def _demand(vcpus: int, memory_mib: int, disk_mib: int) -> Capacity:
    return Capacity(1, vcpus or DEFAULT.vcpus, memory_mib or DEFAULT.memory_mib, disk_mib or DEFAULT.disk_mib)


def limits(capacity: Capacity) -> Capacity:
    """A host's capacity; apart from VMs, zero means that the host sets no limit."""
    return Capacity(
        vms=capacity.vms,
        vcpus=capacity.vcpus or UNLIMITED,
        memory_mib=capacity.memory_mib or UNLIMITED,
        disk_mib=capacity.disk_mib or UNLIMITED,
    )


def plus(one: Capacity, other: Capacity) -> Capacity:
    return Capacity(
        one.vms + other.vms,
        one.vcpus + other.vcpus,
        one.memory_mib + other.memory_mib,
        one.disk_mib + other.disk_mib,
    )


def minus(one: Capacity, other: Capacity) -> Capacity:
    """May go below zero: a host that shrank holds more than it has."""
    return Capacity(
        one.vms - other.vms,
        one.vcpus - other.vcpus,
        one.memory_mib - other.memory_mib,
        one.disk_mib - other.disk_mib,
    )


def times(one: Capacity, count: int) -> Capacity:
    return Capacity(one.vms * count, one.vcpus * count, one.memory_mib * count, one.disk_mib * count)


def fits(demand: Capacity, free: Capacity) -> bool:
    return (
        demand.vms <= free.vms
        and demand.vcpus <= free.vcpus
        and demand.memory_mib <= free.memory_mib
        and demand.disk_mib <= free.disk_mib
    )
