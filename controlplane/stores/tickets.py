"""Tickets and attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

from peewee import fn

from controlplane.domain.epic import NAMED, Children
from controlplane.domain.ticket import (
    TERMINAL,
    Attempt,
    AttemptState,
    BootTier,
    BootTiming,
    Isolation,
    Resources,
    Ticket,
    TicketSpec,
    TicketState,
    TicketType,
)
from controlplane.errors import Conflict
from controlplane.stores import bulk, statements
from controlplane.stores.pending import Pending
from controlplane.stores.session import Row
from controlplane.stores.tables import AttemptTable, DependencyTable, TagTable, TicketTable
from controlplane.stores.unit import Unit, pack, unpack

NONE = pack(())
ATTEMPT_COLUMNS = statements.columns(AttemptTable)
LIVE = sorted(set(TicketState) - TERMINAL)
# The words of the index. Only what is leased has a host, and an epic that runs has none.
LEASED = "host_id > ''"

# Everything that moves with a state; the spec is written apart, because it is long and hardly ever changes.
MOVING = (
    "state",
    "state_reason",
    "fence",
    "attempts",
    "host_id",
    "attempt_id",
    "lease_expires_at",
    "not_before",
    "dead_letter",
    "causes",
    "pull_request_id",
    "head",
    "question",
    "last_log",
    "updated_at",
    "finished_at",
)
SPEC_FIELDS = tuple(field.name for field in fields(TicketSpec))
RESOURCE_FIELDS = tuple(field.name for field in fields(Resources))
SPECIFIED = ("project_id", "parent_id", "spec", "vcpus", "memory_mib", "disk_mib")

SELECT_TICKETS = statements.select(TicketTable, "")
SELECT_NAMED = statements.select(TicketTable, "tenant_id = ? AND (id = ? OR key = ?)", "LIMIT 1")
SELECT_CHILDREN = statements.select(TicketTable, "parent_id = ?", "ORDER BY id")
COUNT_CHILDREN = "SELECT state, COUNT(*), MAX(fence) FROM ticket WHERE parent_id = ? GROUP BY state"
SELECT_FAILED = f"SELECT key FROM ticket WHERE parent_id = ? AND state = 'failed' ORDER BY id LIMIT {NAMED}"  # noqa: S608
SELECT_DEPENDENTS = "SELECT ticket_id FROM ticket_dependency WHERE"
SELECT_WAITING = "SELECT ticket_id, depends_on_id FROM ticket_dependency WHERE"
SELECT_ATTEMPTS = statements.select(AttemptTable, "")
SELECT_ATTEMPTS_OF = statements.select(AttemptTable, "ticket_id = ?", "ORDER BY fence")
SELECT_LIVE = f"{SELECT_TICKETS} {statements.within('state', len(LIVE))} ORDER BY id"
SIZES = "host_id, vcpus, memory_mib, disk_mib"
SELECT_SIZES = f"SELECT {SIZES}, COUNT(*) FROM ticket WHERE {LEASED} AND"  # noqa: S608
INSERT_TICKETS = bulk.Statement(statements.insert(TicketTable))
INSERT_DEPENDENCIES = bulk.Statement(statements.insert(DependencyTable))
INSERT_TAGS = bulk.Statement(statements.insert(TagTable))
DELETE_DEPENDENCIES = "DELETE FROM ticket_dependency WHERE ticket_id = ?"
DELETE_TAGS = "DELETE FROM ticket_tag WHERE ticket_id = ?"
MOVE_TICKET = statements.update(TicketTable, MOVING, ("id", "state", "fence"))
SPECIFY_TICKET = statements.update(TicketTable, SPECIFIED, ("id",))
INSERT_ATTEMPTS = bulk.Statement(statements.insert(AttemptTable))
UPDATE_ATTEMPT = statements.update(AttemptTable, statements.columns(AttemptTable)[1:], ("id",))
# A counter that is new begins at the floor, which a restore raised above what the lost time line gave out.
FLOOR = "floor"
COUNT = (
    "INSERT INTO counter (name, value) SELECT ?, ? + COALESCE(MAX(value), 0) FROM counter WHERE name = ?"
    " ON CONFLICT (name) DO UPDATE SET value = counter.value + ? RETURNING value"
)


class TicketReads(Unit):
    def ticket(self, tenant_id: str, ident: str) -> Ticket | None:
        found = self.session.rows(SELECT_NAMED, (tenant_id, ident, ident))
        return to_ticket(found[0]) if found else None

    def tickets_by_id(self, ids: Sequence[str]) -> list[Ticket]:
        return [
            to_ticket(row)
            for chunk in statements.chunks(ids)
            for row in self.session.rows(f"{SELECT_TICKETS} {statements.within('id', len(chunk))}", chunk)
        ]

    def children(self, parent_id: str) -> list[Ticket]:
        return [to_ticket(row) for row in self.session.rows(SELECT_CHILDREN, (parent_id,))]

    def child_states(self, parent_id: str) -> Children:
        rows = [(TicketState(state), *rest) for state, *rest in self.session.rows(COUNT_CHILDREN, (parent_id,))]
        states = {state: count for state, count, _ in rows}
        begun = any(fence for state, _, fence in rows if state is not TicketState.CANCELLED)
        failed = self.session.rows(SELECT_FAILED, (parent_id,)) if TicketState.FAILED in states else ()
        return Children(states, begun, tuple(key for (key,) in failed))

    def dependents(self, ids: Sequence[str]) -> list[Ticket]:
        found: dict[str, Ticket] = {}
        for chunk in statements.chunks(ids):
            waiting = f"{SELECT_DEPENDENTS} {statements.within('depends_on_id', len(chunk))}"
            rows = self.session.rows(f"{SELECT_TICKETS} id IN ({waiting}) ORDER BY id", chunk)
            found |= {row[0]: to_ticket(row) for row in rows}
        return list(found.values())

    def live_tickets(self) -> list[Ticket]:
        return [to_ticket(row) for row in self.session.rows(SELECT_LIVE, LIVE)]

    def leased_tickets(self, host_id: str = "") -> list[Ticket]:
        sql, params = (f"{LEASED} AND host_id = ?", (host_id,)) if host_id else (LEASED, ())
        return [to_ticket(row) for row in self.session.rows(f"{SELECT_TICKETS} {sql} ORDER BY host_id, id", params)]

    def leased_sizes(self, host_ids: Sequence[str]) -> list[tuple[str, Resources, int]]:
        return [
            (host_id, Resources(*size), count)
            for chunk in statements.chunks(host_ids)
            for host_id, *size, count in self.session.rows(
                f"{SELECT_SIZES} {statements.within('host_id', len(chunk))} GROUP BY {SIZES}", chunk
            )
        ]

    def ticket_counts(self, tenant_id: str = "") -> Mapping[TicketState, int]:
        query = TicketTable.select(TicketTable.state, fn.COUNT(TicketTable.id)).group_by(TicketTable.state)
        if tenant_id:
            query = query.where(TicketTable.tenant_id == tenant_id)
        return {TicketState(state): count for state, count in self.session.select(query)}

    def attempt(self, attempt_id: str) -> Attempt | None:
        return next(iter(self.attempts_by_id((attempt_id,))), None)

    def attempts_by_id(self, ids: Sequence[str]) -> list[Attempt]:
        return [
            to_attempt(row)
            for chunk in statements.chunks(ids)
            for row in self.session.rows(f"{SELECT_ATTEMPTS} {statements.within('id', len(chunk))}", chunk)
        ]

    def attempts(self, ticket_id: str) -> list[Attempt]:
        return [to_attempt(row) for row in self.session.rows(SELECT_ATTEMPTS_OF, (ticket_id,))]


class TicketWrites(TicketReads):
    """Reads by id come from the writer's memory where it has the row."""

    def tickets_by_id(self, ids: Sequence[str]) -> list[Ticket]:
        shelf = self.memory.tickets
        found = shelf.among(ids)
        if len(found) < len(ids) and (unknown := [ident for ident in ids if ident not in found]):
            for read in super().tickets_by_id(unknown):
                shelf.put(read.id, read)
                found[read.id] = read
        return list(found.values())

    def dependents(self, ids: Sequence[str]) -> list[Ticket]:
        shelf = self.memory.waiting
        found = shelf.among(ids)
        if unknown := [ident for ident in ids if ident not in found]:
            found |= self._waiting(unknown)
        return self.tickets_by_id(sorted({ident for waiting in found.values() for ident in waiting}))

    def _waiting(self, ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """By ticket the ids of those that depend on it, read and remembered."""
        # Moves that were put off change no dependency; what is new or respecified does.
        session = self.session if self.pending.links or self.group.links else self.raw
        found: dict[str, tuple[str, ...]] = dict.fromkeys(ids, ())
        for chunk in statements.chunks(ids):
            for ident, one in session.rows(f"{SELECT_WAITING} {statements.within('depends_on_id', len(chunk))}", chunk):
                found[one] = *found[one], ident
        for ident, waiting in found.items():
            self.memory.waiting.put(ident, waiting)
        self.touched |= found.keys()
        return found

    def attempts_by_id(self, ids: Sequence[str]) -> list[Attempt]:
        shelf = self.memory.attempts
        found = shelf.among(ids)
        if len(found) < len(ids) and (unknown := [ident for ident in ids if ident not in found]):
            for read in super().attempts_by_id(unknown):
                shelf.put(read.id, read)
                found[read.id] = read
        return list(found.values())

    def next_ticket_number(self, tenant_id: str, count: int) -> int:
        return self._count(f"ticket:{tenant_id}", count)

    def next_pull_request_number(self, project_id: str) -> int:
        return self._count(f"pull_request:{project_id}", 1)

    def add_tickets(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            self.pending.tickets[ticket.id] = None, ticket
            self._remember(ticket)
        # What is new has no dependents but those that came with it.
        waiting: dict[str, tuple[str, ...]] = {ticket.id: () for ticket in tickets}
        for ticket in tickets:
            for ident in dict.fromkeys(ticket.spec.depends_on):
                known = waiting.get(ident, self.memory.waiting.get(ident))
                if known is not None:
                    waiting[ident] = *known, ticket.id
        for ident, ids in waiting.items():
            self.memory.waiting.put(ident, ids)
        self.touched |= waiting.keys()

    def save_tickets(self, moves: Sequence[tuple[Ticket, Ticket]]) -> list[str]:
        """See ports.Tx. Who lost is known at once; the guard of the statement that writes it is the second look."""
        stored = {ticket.id: ticket for ticket in self.tickets_by_id([old.id for old, _ in moves])}
        lost = []
        for old, new in moves:
            now = stored.get(old.id)
            if now is None or (now.state, now.fence) != (old.state, old.fence):
                lost.append(old.id)
                continue
            self.pending.move(now, new)
            self._remember(new)
            if new.spec is not now.spec:
                self._forget_waiting(now)
                self._forget_waiting(new)
            stored[old.id] = new
        return lost

    def add_attempts(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            self._save(attempt, new=True)

    def save_attempts(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            self._save(attempt)

    def write_tickets(self, pending: Pending) -> None:
        """Conflict when a row is not as the memory has it."""
        new = [ticket for guard, ticket in pending.tickets.values() if guard is None]
        rows = [(*moving(ticket), ticket.id, *guard) for guard, ticket in pending.tickets.values() if guard]
        if new:
            INSERT_TICKETS.run(self.raw, [ticket_row(ticket) for ticket in new])
            self._link(new)
        if rows and self.raw.change(MOVE_TICKET, rows) != len(rows):
            raise Conflict("tickets changed behind the writer's back; try again", reason="concurrent_change")
        if pending.respecified:
            self._specify([pending.tickets[ident][1] for ident in pending.respecified])

    def write_attempts(self, pending: Pending) -> None:
        rows = [(new, attempt_row(attempt)) for new, attempt in pending.attempts.values()]
        INSERT_ATTEMPTS.run(self.raw, [row for new, row in rows if new])
        if saved := [(*row[1:], row[0]) for new, row in rows if not new]:
            self.raw.change(UPDATE_ATTEMPT, saved)

    def _save(self, attempt: Attempt, *, new: bool = False) -> None:
        self.pending.save(attempt, new=new)
        self.touched.add(attempt.id)
        self.memory.attempts.put(attempt.id, attempt)

    def _remember(self, ticket: Ticket) -> None:
        self.touched.add(ticket.id)
        self.moved[ticket.id] = ticket
        self.memory.tickets.put(ticket.id, ticket)

    def _forget_waiting(self, ticket: Ticket) -> None:
        for ident in ticket.spec.depends_on:
            self.memory.waiting.forget(ident)

    def _specify(self, tickets: Sequence[Ticket]) -> None:
        self.raw.change(SPECIFY_TICKET, ((*specified(ticket), ticket.id) for ticket in tickets))
        self.raw.change(DELETE_DEPENDENCIES, ((ticket.id,) for ticket in tickets))
        self.raw.change(DELETE_TAGS, ((ticket.id,) for ticket in tickets))
        self._link(tickets)

    def _link(self, tickets: Sequence[Ticket]) -> None:
        needed = dict.fromkeys((ticket.id, one) for ticket in tickets for one in ticket.spec.depends_on)
        tags = dict.fromkeys((ticket.id, tag) for ticket in tickets for tag in ticket.spec.tags)
        INSERT_DEPENDENCIES.run(self.raw, list(needed))
        INSERT_TAGS.run(self.raw, list(tags))

    def _count(self, name: str, count: int) -> int:
        (newest,) = self.session.rows(COUNT, (name, count, FLOOR, count))[0]
        return int(newest) - count + 1


def ticket_row(ticket: Ticket) -> Row:
    project_id, parent_id, *spec = specified(ticket)
    number = int(ticket.key.rpartition("-")[2])
    *moved, updated_at, finished_at = moving(ticket)
    identity = (ticket.id, ticket.tenant_id, number, ticket.key, project_id, parent_id)
    return (*identity, *spec, *moved, ticket.created_at, updated_at, finished_at)


def specified(ticket: Ticket) -> Row:
    spec, size = ticket.spec, ticket.spec.resources
    data = {name: getattr(spec, name) for name in SPEC_FIELDS}
    data["resources"] = {name: getattr(size, name) for name in RESOURCE_FIELDS}
    return spec.project_id, spec.parent_id, pack(data), size.vcpus, size.memory_mib, size.disk_mib


def moving(ticket: Ticket) -> Row:
    return (
        ticket.state,
        ticket.state_reason,
        ticket.fence,
        ticket.attempts,
        ticket.host_id,
        ticket.attempt_id,
        ticket.lease_expires_at,
        ticket.not_before,
        ticket.dead_letter,
        pack(ticket.causes) if ticket.causes else NONE,
        ticket.pull_request_id,
        ticket.head,
        ticket.question,
        ticket.last_log,
        ticket.updated_at,
        ticket.finished_at,
    )


def to_ticket(row: Row) -> Ticket:
    ident, tenant_id, _number, key, _project, _parent, spec, _vcpus, _memory, _disk, state, reason, *rest = row
    fence, attempts, host_id, attempt_id, expires, not_before, dead, causes, *rest = rest
    pull_request_id, head, question, last_log, created_at, updated_at, finished_at = rest
    return Ticket(
        id=ident,
        key=key,
        tenant_id=tenant_id,
        spec=to_spec(spec),
        state=TicketState(state),
        created_at=created_at,
        updated_at=updated_at,
        state_reason=reason,
        fence=fence,
        attempts=attempts,
        host_id=host_id,
        attempt_id=attempt_id,
        lease_expires_at=expires,
        not_before=not_before,
        dead_letter=bool(dead),
        causes=() if causes == NONE else tuple(unpack(causes)),
        pull_request_id=pull_request_id,
        head=head,
        question=question,
        last_log=last_log,
        finished_at=finished_at,
    )


@lru_cache(4096)
def to_spec(text: str) -> TicketSpec:
    """Decoded once while it is in use: a spec is long, hardly ever changes and is read with every move."""
    data = unpack(text)
    resources = Resources(**{**data["resources"], "isolation": Isolation(data["resources"]["isolation"])})
    lists = {name: tuple(data[name]) for name in ("acceptance_criteria", "tags", "depends_on")}
    return TicketSpec(**{**data, **lists, "type": TicketType(data["type"]), "resources": resources})


def attempt_row(attempt: Attempt) -> Row:
    return (
        attempt.id,
        attempt.ticket_id,
        attempt.number,
        attempt.fence,
        attempt.host_id,
        attempt.state,
        attempt.assigned_at,
        attempt.vm_id,
        attempt.cause,
        attempt.reason,
        attempt.branch,
        attempt.base,
        attempt.head,
        boot_text(attempt.boot),
        attempt.started_at,
        attempt.finished_at,
        attempt.exit_code,
    )


def to_attempt(row: Row) -> Attempt:
    named = dict(zip(ATTEMPT_COLUMNS, row, strict=True))
    return Attempt(**{**named, "state": AttemptState(named["state"]), "boot": to_boot(unpack(named["boot"]))})


def boot_text(boot: BootTiming) -> str:
    return pack({"tier": boot.tier, "boot_us": boot.boot_us, "ready_us": boot.ready_us, "agent_us": boot.agent_us})


def to_boot(data: Mapping[str, Any]) -> BootTiming:
    return BootTiming(**{**data, "tier": BootTier(data["tier"])})
