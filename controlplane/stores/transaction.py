"""All reads, and all reads and writes, as one object each: what the ports call Reader and Tx."""

from __future__ import annotations

from controlplane.stores.agents import AgentReads, AgentWrites
from controlplane.stores.events import EventReads, EventWrites
from controlplane.stores.failures import FailureReads, FailureWrites
from controlplane.stores.fleet import FleetReads, FleetWrites
from controlplane.stores.journal import JournalReads, JournalWrites
from controlplane.stores.projects import ProjectReads, ProjectWrites
from controlplane.stores.tickets import TicketReads, TicketWrites


class Reads(TicketReads, EventReads, ProjectReads, FleetReads, AgentReads, JournalReads, FailureReads):
    """ports.Reader over one session."""


class Writes(TicketWrites, EventWrites, ProjectWrites, FleetWrites, AgentWrites, JournalWrites, FailureWrites):
    """ports.Tx over one session."""
