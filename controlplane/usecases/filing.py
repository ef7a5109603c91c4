"""Filing tickets: names are resolved, inputs checked and everything stored, or nothing is and every fault is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.domain import dag
from controlplane.domain.call import Call
from controlplane.domain.change import replace
from controlplane.domain.event import NewEvent
from controlplane.domain.ids import new_id
from controlplane.domain.project import Project
from controlplane.domain.refs import ticket_key
from controlplane.domain.ticket import Ticket, TicketSpec, TicketState, TicketType
from controlplane.domain.transitions import TICKETS_TOPIC, Action, advance
from controlplane.errors import InvalidInput, Violation
from controlplane.ports import Reader, Tx
from controlplane.usecases.moves import commit_steps
from controlplane.usecases.runners import Runners


def plan(reader: Reader, call: Call, specs: Sequence[TicketSpec], pointers: Sequence[str]) -> list[Ticket]:
    """Tickets as they would be filed, without keys, every name in them an id.

    `pointers` are JSON pointers of the specs in what the caller sent. InvalidInput names every fault by one;
    FailedPrecondition the first ticket whose image no host has.
    """
    draft = Draft.of(reader, call, specs)
    found = [
        Violation(pointers[index] + field, description)
        for index, spec in enumerate(specs)
        for field, description in draft.faults(index, spec)
    ]
    found += draft.dependency_faults(pointers)
    if found:
        first = found[0]
        raise InvalidInput(f"{first.field}: {first.description}", violations=tuple(found))
    draft.runners.expect_images(reader, specs, pointers)
    return draft.tickets(call)


def file(tx: Tx, call: Call, planned: Sequence[Ticket], *, hold: bool) -> list[Ticket]:
    """Give them keys and store them; they are released unless `hold`. Returns them as they are after that."""
    number = tx.next_ticket_number(call.principal.tenant_id, len(planned))
    tickets = [replace(ticket, key=ticket_key(number + offset)) for offset, ticket in enumerate(planned)]
    tx.add_tickets(tickets)
    tx.add_events([_created(ticket, call) for ticket in tickets], call.now)
    if not hold:
        release(tx, call, [ticket for ticket in tickets if ticket.spec.type is not TicketType.EPIC])
    stored = {ticket.id: ticket for ticket in tx.tickets_by_id([ticket.id for ticket in tickets])}
    return [stored[ticket.id] for ticket in tickets]


def release(tx: Tx, call: Call, tickets: Sequence[Ticket]) -> None:
    """Let held tickets run as soon as their dependencies do. FailedPrecondition for one that is not held."""
    needed = {ident for ticket in tickets for ident in ticket.spec.depends_on}
    found = {each.id: each for each in tx.tickets_by_id(list(needed))}
    steps = []
    for ticket in tickets:
        held = tuple(key for key, _ in dag.unsatisfied(ticket.spec.depends_on, found))
        steps.append(advance(ticket, Action.RELEASE, call.now, blocked_by=held))
    commit_steps(tx, steps, call.now)


def _created(ticket: Ticket, call: Call) -> NewEvent:
    data = {"ticket_id": ticket.id, "key": ticket.key, "title": ticket.spec.title, "by": call.principal.name}
    return NewEvent(f"ticket:{ticket.id}", "ticket.created", data | {"tenant_id": ticket.tenant_id}, also=TICKETS_TOPIC)


@dataclass(frozen=True, slots=True)
class Draft:
    """The specs of one request with all that they name. `ids` are the new tickets' own, by index."""

    specs: Sequence[TicketSpec]
    ids: Sequence[str]
    refs: Mapping[str, int]
    named: Mapping[str, Ticket]
    projects: Mapping[str, Project]
    runners: Runners

    @classmethod
    def of(cls, reader: Reader, call: Call, specs: Sequence[TicketSpec]) -> Draft:
        tenant = call.principal.tenant_id
        refs = {spec.ref: index for index, spec in reversed(list(enumerate(specs))) if spec.ref}
        idents = {ident for spec in specs for ident in (*spec.depends_on, spec.parent_id)} - refs.keys() - {""}
        named = {ident: ticket for ident in sorted(idents) if (ticket := reader.ticket(tenant, ident))}
        project_ids = {spec.project_id for spec in specs} - {""}
        projects = {ident: project for ident in project_ids if (project := reader.project(tenant, ident))}
        runners = Runners.of(reader, call, specs, projects)
        return cls(specs, [new_id("tk", call.now) for _ in specs], refs, named, projects, runners)

    def faults(self, index: int, spec: TicketSpec) -> Iterator[tuple[str, str]]:
        """Yield (pointer below the spec, what is wrong)."""
        if spec.ref and self.refs[spec.ref] != index:
            yield "/ref", f"{spec.ref} names another ticket of this request too"
        if spec.project_id and spec.project_id not in self.projects:
            yield "/project_id", f"there is no project {spec.project_id}"
        yield from self._parent_faults(spec)
        if spec.type is TicketType.EPIC:
            if spec.depends_on:
                yield "/depends_on", "an epic waits for its children only; let those depend on tickets"
            return
        yield from self.runners.faults(index, spec)

    def dependency_faults(self, pointers: Sequence[str]) -> Iterator[Violation]:
        """Yield dependencies that do not exist, point back at themselves or close a cycle."""
        labels = [spec.ref or pointer for spec, pointer in zip(self.specs, pointers, strict=True)]
        graph = {label: spec.depends_on for label, spec in zip(labels, self.specs, strict=True)}
        places = dict(zip(labels, pointers, strict=True))
        for fault in dag.faults(graph, self.named):
            yield Violation(f"{places[fault.node]}/depends_on/{fault.index}", fault.reason)

    def tickets(self, call: Call) -> list[Ticket]:
        return [
            Ticket(
                id=self.ids[index],
                key="",
                tenant_id=call.principal.tenant_id,
                spec=self._resolved(index, spec, call.traceparent),
                state=TicketState.PENDING,
                created_at=call.now,
                updated_at=call.now,
            )
            for index, spec in enumerate(self.specs)
        ]

    def _parent_faults(self, spec: TicketSpec) -> Iterator[tuple[str, str]]:
        if not spec.parent_id:
            return
        if spec.parent_id in self.refs:
            parent = self.specs[self.refs[spec.parent_id]]
        elif spec.parent_id in self.named:
            parent = self.named[spec.parent_id].spec
        else:
            yield "/parent_id", f"there is no ticket {spec.parent_id}"
            return
        if parent.type is not TicketType.EPIC:
            yield "/parent_id", f"{spec.parent_id} is no epic"
        if spec.type is TicketType.EPIC:
            yield "/parent_id", "an epic has no parent"
        if self._id_of(spec.parent_id) in map(self._id_of, spec.depends_on):
            yield "/depends_on", f"{spec.parent_id} completes after its children, so none can wait for it"

    def _id_of(self, name: str) -> str:
        if name in self.refs:
            return self.ids[self.refs[name]]
        return self.named[name].id if name in self.named else ""

    def _resolved(self, index: int, spec: TicketSpec, traceparent: str) -> TicketSpec:
        runner = self.runners.fixed(index)
        return replace(
            spec,
            agent=runner.agent,
            workflow=runner.workflow,
            depends_on=tuple(dict.fromkeys(map(self._id_of, spec.depends_on))),
            parent_id=self._id_of(spec.parent_id) if spec.parent_id else "",
            ref="",
            traceparent=traceparent,
        )
