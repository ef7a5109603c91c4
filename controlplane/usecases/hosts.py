"""Hosts: reading them, and taking them out of service and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from controlplane.domain.call import Call
from controlplane.domain.host import Host, HostState
from controlplane.errors import NotFound, Unavailable
from controlplane.ports import Page, Reader, Tx
from controlplane.usecases.placement import lose_all
from controlplane.usecases.services import Services

_PAGE: Final = 1000
DRAINS: Final = "drains"  # setting: host id -> epoch seconds at which what still runs is placed elsewhere


def list_hosts(reader: Reader, _call: Call, page: Page) -> tuple[list[Host], str]:
    """By name, with the token of the next page, if any."""
    return reader.hosts(page)


def get_host(reader: Reader, _call: Call, ident: str) -> Host:
    """By id or name."""
    if host := reader.host(ident):
        return host
    raise NotFound(f"there is no host {ident}")


def all_hosts(reader: Reader) -> Iterator[Host]:
    """Every host by name, read page by page."""
    token = ""
    while True:
        hosts, token = reader.hosts(Page(_PAGE, token))
        yield from hosts
        if not token:
            return


async def cordon(services: Services, call: Call, ident: str) -> Host:
    """Place nothing more there; what runs goes on."""
    return await _take_out(services, call, ident, HostState.CORDONED, None)


async def drain(services: Services, call: Call, ident: str, deadline_s: float | None) -> Host:
    """Place nothing more there, and elsewhere what still runs after so many seconds; None lets it finish."""
    return await _take_out(services, call, ident, HostState.DRAINING, deadline_s)


async def uncordon(services: Services, call: Call, ident: str) -> Host:
    """Let the host take work again."""
    connected = services.fleet.connected()

    def change(tx: Tx) -> Host:
        host = get_host(tx, call, ident)
        _set_deadline(tx, host.id, None)
        if host.state in {HostState.CORDONED, HostState.DRAINING}:
            tx.set_host_state(host.id, HostState.ONLINE if host.id in connected else HostState.OFFLINE)
        return get_host(tx, call, host.id)

    host = await services.store.write(change)
    _tell(services, host, cordoned=False)
    return host


def end_overdue_drains(tx: Tx, now: float) -> int:
    """Place elsewhere what still runs on hosts whose drain is over; returns how many tickets. Costs them no try.

    The host is told to stop the VMs, and learns at its next renewal too that their fences are over.
    """
    overdue = [host_id for host_id, deadline in _deadlines(tx).items() if deadline <= now]
    tickets = [ticket for host_id in overdue for ticket in tx.leased_tickets(host_id)]
    if tickets:
        lose_all(tx, tickets, now, cause="host_stopping", reason="its host was drained", at_work=True)
    for host_id in overdue:
        _set_deadline(tx, host_id, None)
    return len(tickets)


def next_drain_deadline(reader: Reader) -> float | None:
    return min(_deadlines(reader).values(), default=None)


async def _take_out(services: Services, call: Call, ident: str, state: HostState, deadline_s: float | None) -> Host:
    def change(tx: Tx) -> Host:
        host = get_host(tx, call, ident)
        tx.set_host_state(host.id, state)
        _set_deadline(tx, host.id, None if deadline_s is None else call.now + deadline_s)
        return get_host(tx, call, host.id)

    host = await services.store.write(change)
    _tell(services, host, cordoned=True)
    return host


def _tell(services: Services, host: Host, *, cordoned: bool) -> None:
    # A host that is away is told when it comes back; the scheduler goes by the row.
    with suppress(Unavailable):
        services.fleet.cordon(host.id, cordoned=cordoned)


def _deadlines(reader: Reader) -> dict[str, float]:
    return dict(reader.setting(DRAINS) or {})


def _set_deadline(tx: Tx, host_id: str, deadline: float | None) -> None:
    before = _deadlines(tx)
    after = {key: value for key, value in before.items() if key != host_id}
    if deadline is not None:
        after[host_id] = deadline
    if after != before:
        tx.set_setting(DRAINS, after)
