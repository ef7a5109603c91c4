"""The hello of a host: who it may be, what the store learns from it, and what it is told first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from controlplane.api.convert.host import capacity_in
from controlplane.api.convert.ticket import isolation_in
from controlplane.domain.call import Principal
from controlplane.domain.host import Capacity, Host, HostState
from controlplane.domain.lease import LeaseTimes
from controlplane.domain.ticket import Isolation
from controlplane.errors import Forbidden, InvalidInput
from controlplane.fleet.wire import refs_in
from controlplane.ports import Tx
from controlplane.usecases.placement import Reconciled
from controlplane.usecases.placement import hello as settle
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2

_BOOT_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
MOST_ATTEMPTS: Final = 10_000
MOST_NAMES: Final = 100
LONGEST_NAME: Final = 128
LONGEST_WARNING: Final = 500
RETURN_S: Final = 0.005  # about what it takes to admit one host


@dataclass(frozen=True, slots=True)
class Admitted:
    """`position` is the highest number that was committed under the host's boot id."""

    host: Host
    position: int
    reconciled: Reconciled


def check_hello(principal: Principal, first: service_pb2.AttachRequest | None) -> pb.Hello:
    """The hello that a stream begins with; a host can only be the one that its token was made for."""
    if first is None or not first.HasField("hello"):
        raise InvalidInput("a stream begins with a hello", reason="no_hello")
    hello = first.hello
    if first.seq or first.events:
        raise InvalidInput("a hello stands alone and has no number", reason="bad_hello")
    if not _BOOT_ID.fullmatch(hello.boot_id):
        raise InvalidInput("a hello needs a boot id", reason="bad_hello")
    if len(hello.attempts) > MOST_ATTEMPTS:
        raise InvalidInput(f"more than {MOST_ATTEMPTS} attempts", reason="bad_hello")
    if hello.name and hello.name != name_of(principal):
        raise Forbidden(f"this token belongs to the host {name_of(principal)!r}, not to {hello.name[:64]!r}")
    return hello


def name_of(principal: Principal) -> str:
    return principal.name.removeprefix("host:")


def admit(tx: Tx, principal: Principal, hello: pb.Hello, now: float, times: LeaseTimes) -> Admitted:
    """Saves the host and settles its leases, in one commit."""
    known = tx.host(principal.host_id)
    rebooted = known is None or known.boot_id != hello.boot_id
    host = described(known or newcomer(principal, now), hello, now)
    tx.save_host(host)
    reconciled = settle(tx, host.id, refs_in(hello.attempts), now, rebooted=rebooted, times=times)
    return Admitted(host, tx.link_position(host.id, hello.boot_id), reconciled)


def newcomer(principal: Principal, now: float) -> Host:
    return Host(
        id=principal.host_id,
        name=name_of(principal),
        state=HostState.ONLINE,
        isolation=Isolation.UNSPECIFIED,
        capacity=Capacity(),
        joined_at=now,
    )


def described(host: Host, hello: pb.Hello, now: float) -> Host:
    """The host as it says it is; whether it is cordoned or draining is not its to say."""
    return replace(
        host,
        state=HostState.ONLINE if host.state is HostState.OFFLINE else host.state,
        isolation=isolation_in(hello.isolation),
        capacity=capacity_in(hello.capacity),
        labels={key[:63]: value[:63] for key, value in list(hello.labels.items())[:MOST_NAMES]},
        images=names(hello.images),
        drivers=names(hello.drivers),
        version=hello.version[:LONGEST_NAME],
        boot_id=hello.boot_id,
        warnings=tuple(warning[:LONGEST_WARNING] for warning in hello.warnings[:MOST_NAMES]),
        last_seen_at=now,
    )


def names(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(value[:LONGEST_NAME] for value in values[:MOST_NAMES])


def reconnect_within_s(hosts: int, times: LeaseTimes) -> float:
    """Time over which so many hosts shall spread when they all come back at once.

    It stays below the renewal period, so that no lease comes near its end for it.
    """
    return min(hosts * RETURN_S, times.renew_every_s)


def welcome(admitted: Admitted, times: LeaseTimes, hosts: int = 1) -> pb.Welcome:
    """`hosts`: how many are attached."""
    return pb.Welcome(
        reconnect_within_ms=round(reconnect_within_s(hosts, times) * 1000),
        host_id=admitted.host.id,
        lease_ttl_ms=round(times.ttl_s * 1000),
        renew_every_ms=round(times.renew_every_s * 1000),
        self_fence_ms=round(times.self_fence_s * 1000),
        resume_from=admitted.position,
        cordoned=admitted.host.state in {HostState.CORDONED, HostState.DRAINING},
    )
