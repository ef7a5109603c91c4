"""Taking tickets away, with everything that is theirs alone. What others say of them stays: audit rows, VMs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from controlplane.domain.ticket import Ticket
from controlplane.stores.unit import Unit

STEPS: Final = "DELETE FROM step_execution WHERE run_id IN (SELECT id FROM workflow_run WHERE ticket_id = ?)"
BY_TICKET: Final = (
    STEPS,
    *(
        f"DELETE FROM {table} WHERE {column} = ?"  # noqa: S608 - names of our own tables
        for table, column in (
            ("workflow_run", "ticket_id"),
            ("claim", "ticket_id"),
            ("failure", "ticket_id"),
            ("pull_request", "ticket_id"),
            ("attempt", "ticket_id"),
            ("ticket_tag", "ticket_id"),
            ("ticket_dependency", "ticket_id"),
            ("ticket", "id"),
        )
    ),
)
BY_TOPIC: Final = ("DELETE FROM event WHERE topic = ?", "DELETE FROM topic WHERE name = ?")


class RemovalWrites(Unit):
    def remove_tickets(self, tickets: Sequence[Ticket]) -> None:
        """Whoever watches one of them is woken, and finds it gone."""
        for statement in BY_TICKET:
            self.session.change(statement, [(ticket.id,) for ticket in tickets])
        topics = [f"ticket:{ticket.id}" for ticket in tickets]
        for statement in BY_TOPIC:
            self.session.change(statement, [(topic,) for topic in topics])
        for ticket in tickets:
            self._forget(ticket)
        self.topics.update(topics)

    def _forget(self, ticket: Ticket) -> None:
        memory = self.memory
        memory.tickets.forget(ticket.id)
        memory.attempts.forget(ticket.attempt_id)
        memory.topics.forget(f"ticket:{ticket.id}")
        for ident in (ticket.id, *ticket.spec.depends_on):
            memory.waiting.forget(ident)
        self.moved.pop(ticket.id, None)
