"""All reads, and all reads and writes, as one object each: what the ports call Reader and Tx."""

from __future__ import annotations

from controlplane.stores.agents import AgentReads, AgentWrites
from controlplane.stores.claims import ClaimReads, ClaimWrites
from controlplane.stores.events import EventReads, EventWrites
from controlplane.stores.failures import FailureReads, FailureWrites
from controlplane.stores.fleet import FleetReads, FleetWrites
from controlplane.stores.housekeeping import HousekeepingReads, HousekeepingWrites
from controlplane.stores.journal import JournalReads, JournalWrites
from controlplane.stores.pending import Pending
from controlplane.stores.projects import ProjectReads, ProjectWrites
from controlplane.stores.tickets import TicketReads, TicketWrites
from controlplane.stores.workflows import WorkflowReads, WorkflowWrites


class Reads(
    TicketReads,
    EventReads,
    ProjectReads,
    FleetReads,
    AgentReads,
    WorkflowReads,
    JournalReads,
    HousekeepingReads,
    ClaimReads,
    FailureReads,
):
    """ports.Reader over one session."""


class Writes(
    TicketWrites,
    EventWrites,
    ProjectWrites,
    FleetWrites,
    AgentWrites,
    WorkflowWrites,
    JournalWrites,
    HousekeepingWrites,
    ClaimWrites,
    FailureWrites,
):
    """ports.Tx over one session."""

    def flush(self) -> None:
        pending, self.pending = self.pending, Pending()
        self.write_tickets(pending)
        self.write_attempts(pending)
        self.write_events(pending)
