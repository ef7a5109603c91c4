"""Looks at every part of the deployment, beside each other and none for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from controlplane.domain.call import Call
from controlplane.domain.health import Check, Status
from controlplane.errors import SwarmError
from controlplane.ports import Store
from controlplane.usecases.coordinator import Disk, status

PATIENCE_S: Final = 5.0
SLOW_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Outside:
    """A part that is asked over the network; `ask` None: it is not configured, and `missing` says what that means."""

    ask: Callable[[], Awaitable[None]] | None
    advice: str
    missing: str


@dataclass(frozen=True, slots=True)
class Probes:
    """What only the running process knows; see `coordinator.status`. `outside` is by name."""

    connected: Callable[[], frozenset[str]]
    unplaceable: Callable[[], Mapping[str, str]]
    disk: Callable[[], Disk]
    outside: Mapping[str, Outside] = field(default_factory=dict)


async def health(store: Store, probes: Probes, call: Call) -> list[Check]:
    checks: list[tuple[str, Awaitable[Check]]] = [
        ("store", _store(store)),
        ("writer", _writer(store)),
        ("outbox", _outbox(store)),
        ("scheduler", _scheduler(store, probes, call)),
        ("hosts", _hosts(store, probes, call)),
        ("disk", _disk(probes)),
    ]
    checks += [(name, _outside(name, part)) for name, part in probes.outside.items()]
    return await asyncio.gather(*(_patiently(name, check) for name, check in checks))


async def _patiently(name: str, check: Awaitable[Check]) -> Check:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await check
    except TimeoutError:
        return Check(name, Status.FAILED, f"no answer within {PATIENCE_S:.0f} s", "look at the log and the load")
    except SwarmError as fault:
        return Check(name, Status.FAILED, fault.message, "look at the log of the control plane")


async def _store(store: Store) -> Check:
    began = time.perf_counter()
    await store.read(lambda reader: reader.setting("health"))
    return Check("store", Status.OK, f"read in {(time.perf_counter() - began) * 1000:.1f} ms")


async def _writer(store: Store) -> Check:
    """Waits for its turn behind all other writes."""
    began = time.perf_counter()
    await store.write(lambda tx: tx.setting("health"))
    took = time.perf_counter() - began
    detail = f"written in {took * 1000:.1f} ms"
    if took > SLOW_S:
        return Check("writer", Status.WARNING, detail, "writes wait: is the disk of the state directory slow?")
    return Check("writer", Status.OK, detail)


async def _outbox(store: Store) -> Check:
    waiting, failing, error = await store.read(lambda reader: reader.outbox())
    detail = f"{waiting} wait, {failing} of them failed before"
    if failing:
        advice = "what they need is away: a forge, a host, or a mail server"
        return Check("outbox", Status.WARNING, f"{detail}; the last: {error[:200]}", advice)
    return Check("outbox", Status.OK, detail)


async def _scheduler(store: Store, probes: Probes, call: Call) -> Check:
    unplaceable = probes.unplaceable()
    found = await store.read(
        lambda reader: status(reader, call, started_at=0, version="", connected=frozenset(), unplaceable=unplaceable)
    )
    if not found.running:
        return Check("scheduler", Status.WARNING, "it is stopped", "start it: `swarm engine start`")
    detail = f"{found.queue_depth} ready, {found.leased} at work"
    if unplaceable:
        key, why = next(iter(unplaceable.items()))
        words = f"{detail}; {len(unplaceable)} fit nowhere, such as {key}: {why}"
        return Check("scheduler", Status.WARNING, words, "add a host, or ask for less")
    return Check("scheduler", Status.OK, detail)


async def _hosts(store: Store, probes: Probes, call: Call) -> Check:
    connected = probes.connected()
    found = await store.read(
        lambda reader: status(reader, call, started_at=0, version="", connected=connected, unplaceable={})
    )
    detail = f"{found.hosts_online} of {found.hosts_total} connected, {found.vms_unhealthy} VMs unhealthy"
    if not found.hosts_online:
        return Check("hosts", Status.FAILED, detail, "start hostd on a machine: nothing runs without one")
    if found.hosts_online < found.hosts_total or found.vms_unhealthy:
        return Check("hosts", Status.WARNING, detail, "see which: `swarm host list`, `swarm vm list`")
    return Check("hosts", Status.OK, detail)


async def _disk(probes: Probes) -> Check:
    disk = probes.disk()
    detail = f"{disk.free_bytes >> 20} MiB free"
    if disk.refusal:
        return Check("disk", Status.FAILED, f"{detail}: {disk.refusal}", "free some, or move the state directory")
    return Check("disk", Status.OK, detail)


async def _outside(name: str, part: Outside) -> Check:
    if part.ask is None:
        return Check(name, Status.OFF, "not configured", part.missing)
    try:
        await part.ask()
    except SwarmError as fault:
        return Check(name, Status.FAILED, fault.message, part.advice)
    return Check(name, Status.OK, "it answers")
