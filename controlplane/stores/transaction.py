"""All reads, and all reads and writes, as one object each: what the ports call Reader and Tx."""

from __future__ import annotations

from controlplane.stores.accounts import AccountReads, AccountWrites
from controlplane.stores.agents import AgentReads, AgentWrites
from controlplane.stores.audit import AuditReads, AuditWrites
from controlplane.stores.claims import ClaimReads, ClaimWrites
from controlplane.stores.credentials import CredentialReads, CredentialWrites
from controlplane.stores.events import EventReads, EventWrites
from controlplane.stores.failures import FailureReads, FailureWrites
from controlplane.stores.fleet import FleetReads, FleetWrites
from controlplane.stores.housekeeping import HousekeepingReads, HousekeepingWrites
from controlplane.stores.journal import JournalReads, JournalWrites
from controlplane.stores.listing import ListingReads
from controlplane.stores.notices import NoticeReads, NoticeWrites
from controlplane.stores.pending import Pending
from controlplane.stores.projects import ProjectReads, ProjectWrites
from controlplane.stores.removal import RemovalWrites
from controlplane.stores.tickets import TicketReads, TicketWrites
from controlplane.stores.usage import UsageReads, UsageWrites
from controlplane.stores.workflows import WorkflowReads, WorkflowWrites


class Reads(
    TicketReads,
    ListingReads,
    EventReads,
    ProjectReads,
    FleetReads,
    AgentReads,
    WorkflowReads,
    JournalReads,
    AuditReads,
    HousekeepingReads,
    ClaimReads,
    FailureReads,
    AccountReads,
    CredentialReads,
    NoticeReads,
    UsageReads,
):
    """ports.Reader over one session."""


class Writes(
    TicketWrites,
    ListingReads,
    RemovalWrites,
    EventWrites,
    ProjectWrites,
    FleetWrites,
    AgentWrites,
    WorkflowWrites,
    JournalWrites,
    AuditWrites,
    HousekeepingWrites,
    ClaimWrites,
    FailureWrites,
    AccountWrites,
    CredentialWrites,
    NoticeWrites,
    UsageWrites,
):
    """ports.Tx over one session."""

    opened = False
    """Whether it has a savepoint: only once it runs a statement of its own."""

    def flush(self) -> None:
        if not self.opened:
            self.settle()
            self.raw.savepoint()
            self.opened = True
        if self.pending:
            self.number()
            pending, self.pending = self.pending, Pending()
            self._write(pending)

    def end(self) -> None:
        """The work is done: what it put off is left to its group."""
        self.number()
        if self.opened:
            self.raw.release()
        self.group.join(self.pending)

    def undo(self) -> None:
        """The work is undone, also where it was remembered."""
        self.memory.undo(self.touched)
        if self.opened:
            self.raw.undo()

    def settle(self) -> None:
        """Write what the units before this one put off. GroupLostError: they are lost, and this one with them."""
        try:
            self._write(self.group)
        except Exception as error:
            raise GroupLostError from error
        self.group.clear()

    def _write(self, pending: Pending) -> None:
        self.write_tickets(pending)
        self.write_attempts(pending)
        self.write_events(pending)
        self.write_links(pending)


class GroupLostError(Exception):
    """The whole transaction is lost: the database gave it up, or it cannot take what was put off."""
