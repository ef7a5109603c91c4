"""Hosts, their VMs, and how far their messages were taken in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from peewee import ModelSelect

from controlplane.domain.call import HOME
from controlplane.domain.host import Capacity, Host, HostState
from controlplane.domain.ticket import Isolation
from controlplane.domain.vm import Vm, VmHealth, VmSample, VmState
from controlplane.ports import Page
from controlplane.stores import bulk, statements
from controlplane.stores.pending import Pending
from controlplane.stores.session import Row
from controlplane.stores.tables import HostTable, LinkTable, VmTable
from controlplane.stores.tickets import LEASED, to_boot
from controlplane.stores.tokens import page_size
from controlplane.stores.unit import Unit, pack, unpack

FACTS = ("isolation", "capacity", "labels", "images", "drivers", "version", "boot_id", "warnings")
SELECT_HOST = statements.select(HostTable, "id = ? OR name = ?", "LIMIT 1")
SELECT_USED = (
    "SELECT host_id, COUNT(*), SUM(vcpus), SUM(memory_mib), SUM(disk_mib) FROM ticket"  # noqa: S608 - our own columns
    f" WHERE {LEASED}"
)
SELECT_HOSTS = statements.select(HostTable, "")
SELECT_HOST_PAGE = statements.select(HostTable, "name > ?", "ORDER BY name LIMIT ?")
SELECT_POSITION = "SELECT seq FROM link WHERE host_id = ? AND boot_id = ?"
HOST_SEEN = statements.update(HostTable, ("last_seen_at",), ("id",))
COUNT_VMS = (
    "SELECT COUNT(*), SUM(CASE WHEN facts LIKE ? THEN 1 ELSE 0 END) FROM vm"
    " WHERE stopped_at IS NULL AND state <> 'stopped'"
)
UPSERT_HOST = statements.upsert(HostTable, "id")
UPDATE_HOST_STATE = statements.update(HostTable, ("state",), ("id",))
# The tenant is that of the ticket, so that no host can put its VM under another; it stays when the ticket is deleted.
OWNER = f"COALESCE((SELECT tenant_id FROM ticket WHERE id = ?), (SELECT tenant_id FROM vm WHERE id = ?), '{HOME}')"  # noqa: S608
UPSERT_VM = (
    f"INSERT INTO vm (id, host_id, state, facts, stopped_at, tenant_id) VALUES (?, ?, ?, ?, ?, {OWNER})"  # noqa: S608
    " ON CONFLICT (id) DO UPDATE SET host_id = excluded.host_id, state = excluded.state, facts = excluded.facts,"
    " stopped_at = excluded.stopped_at, tenant_id = excluded.tenant_id"
)
UPSERT_LINKS = bulk.Statement(statements.upsert(LinkTable, "host_id"))


class FleetReads(Unit):
    def host(self, ident: str) -> Host | None:
        return next(iter(self._hosts(self.session.rows(SELECT_HOST, (ident, ident)))), None)

    def hosts_by_id(self, ids: Sequence[str]) -> list[Host]:
        return [
            host
            for chunk in statements.chunks(ids)
            for host in self._hosts(self.session.rows(f"{SELECT_HOSTS} {statements.within('id', len(chunk))}", chunk))
        ]

    def hosts(self, page: Page) -> tuple[list[Host], str]:
        scope = ("hosts",)
        after = self.tokens.read(json.dumps(scope), page.token) if page.token else ""
        found = self.session.rows(SELECT_HOST_PAGE, (after, page_size(page.size) + 1))
        rows, token = self.cut([(*row, row[1]) for row in found], scope, page, tuple)
        return self._hosts(rows), token

    def vm(self, vm_id: str, tenant_id: str | None = None) -> Vm | None:
        found = self.session.select(of_tenant(VmTable.select().where(VmTable.id == vm_id), tenant_id))
        return to_vm(found[0]) if found else None

    def vms(
        self, host_id: str, *, include_stopped: bool, page: Page, tenant_id: str | None = None
    ) -> tuple[list[Vm], str]:
        query = of_tenant(VmTable.select(VmTable, VmTable.id.alias("position")), tenant_id)
        if host_id:
            query = query.where(VmTable.host_id == host_id)
        if not include_stopped:
            query = query.where(VmTable.state != VmState.STOPPED.value)
        return self.page(query, VmTable.id, ("vms", tenant_id, host_id, include_stopped), page, to_vm)

    def vm_counts(self) -> tuple[int, int]:
        (row,) = self.session.rows(COUNT_VMS, ('%"health":"unhealthy"%',))
        return int(row[0]), int(row[1] or 0)

    def link_position(self, host_id: str, boot_id: str) -> int:
        found = self.session.rows(SELECT_POSITION, (host_id, boot_id))
        return int(found[0][0]) if found else 0

    def _hosts(self, rows: Sequence[Row]) -> list[Host]:
        used = self._used([row[0] for row in rows])
        return [to_host(row, used.get(row[0], Capacity())) for row in rows]

    def _used(self, host_ids: list[str]) -> Mapping[str, Capacity]:
        sql = f"{SELECT_USED} AND {statements.within('host_id', len(host_ids))} GROUP BY host_id"
        return {row[0]: Capacity(*row[1:]) for row in self.session.rows(sql, host_ids)}


class FleetWrites(FleetReads):
    def save_host(self, host: Host) -> None:
        data = asdict(host)
        facts = pack({name: data[name] for name in FACTS})
        row = (host.id, host.name, host.state.value, facts, host.last_seen_at, host.joined_at)
        self.session.change(UPSERT_HOST, (row,))
        self.topics.add(f"host:{host.id}")

    def set_host_state(self, host_id: str, state: HostState) -> None:
        self.session.change(UPDATE_HOST_STATE, ((state.value, host_id),))
        self.topics.add(f"host:{host_id}")

    def host_seen(self, host_id: str, now: float) -> None:
        self.pending.seen[host_id] = now

    def save_vms(self, vms: Sequence[Vm]) -> None:
        rows = ((vm.id, vm.host_id, vm.state.value, pack(asdict(vm)), vm.stopped_at, vm.ticket_id, vm.id) for vm in vms)
        self.session.change(UPSERT_VM, rows)
        self.topics.add("vms")

    def set_link_position(self, host_id: str, boot_id: str, seq: int) -> None:
        self.pending.positions[host_id] = boot_id, seq
        self.memory.positions.put(host_id, (boot_id, seq))
        self.touched.add(host_id)

    def link_position(self, host_id: str, boot_id: str) -> int:
        if (known := self.memory.positions.get(host_id)) and known[0] == boot_id:
            return known[1]
        return super().link_position(host_id, boot_id)

    def write_links(self, pending: Pending) -> None:
        if pending.seen:
            self.raw.change(HOST_SEEN, ((now, host_id) for host_id, now in pending.seen.items()))
        UPSERT_LINKS.run(self.raw, [(host_id, *position) for host_id, position in pending.positions.items()])


def to_host(row: Row, used: Capacity) -> Host:
    ident, name, state, packed, last_seen_at, joined_at = row
    return Host(
        **to_facts(packed),
        id=ident,
        name=name,
        state=HostState(state),
        used=used,
        last_seen_at=last_seen_at,
        joined_at=joined_at,
    )


@lru_cache(4096)
def to_facts(text: str) -> Mapping[str, Any]:
    """Decoded once while they stay as they are, which is from one hello to the next."""
    facts = unpack(text)
    lists = {key: tuple(facts[key]) for key in ("images", "drivers", "warnings")}
    return {**facts, **lists, "isolation": Isolation(facts["isolation"]), "capacity": Capacity(**facts["capacity"])}


def of_tenant(query: ModelSelect[Any], tenant_id: str | None) -> ModelSelect[Any]:
    return query if tenant_id is None else query.where(VmTable.tenant_id == tenant_id)


def to_vm(row: Row) -> Vm:
    _id, _host_id, state, packed, _stopped_at, _tenant_id = row
    facts = unpack(packed)
    sample = VmSample(**facts["sample"]) if facts["sample"] else None
    typed = {"state": VmState(state), "isolation": Isolation(facts["isolation"]), "boot": to_boot(facts["boot"])}
    health = VmHealth(facts.get("health", VmHealth.UNKNOWN))
    return Vm(**{**facts, **typed, "sample": sample, "health": health})
