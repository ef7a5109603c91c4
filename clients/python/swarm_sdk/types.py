"""The messages that calls take and return, in one place, and their JSON form."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from swarm.admin.v1.admin_pb2 import HealthCheck, HealthStatus, Setting, Tenant, TenantSpec, Usage, UserSpec
from swarm.agent.v1.agent_pb2 import AgentState, LiveAgent, LogLine
from swarm.agent.v1.service_pb2 import WatchLiveAgentsResponse
from swarm.audit.v1.audit_pb2 import AuditHead, AuditLog, AuditVerdict
from swarm.auth.v1.auth_pb2 import Login, Tokens, User
from swarm.coordinator.v1.coordinator_pb2 import (
    Circuit,
    CircuitState,
    CleanupReport,
    CleanupRun,
    CoordinatorState,
    CoordinatorStatus,
    FailureCount,
    Failures,
)
from swarm.fleet.v1.fleet_pb2 import Capacity, Host, HostState, Image, Progress, SwarmStatus, Template
from swarm.key.v1.key_pb2 import Key, KeySpec
from swarm.notification.v1.notification_pb2 import Channel, Notification, NotificationKind, Preferences, Rule
from swarm.options.v1.options_pb2 import Role
from swarm.project.v1.project_pb2 import CompleteOn, Project, ProjectSpec
from swarm.pullrequest.v1.pullrequest_pb2 import PullRequest, PullRequestState
from swarm.registry.v1.registry_pb2 import (
    Agent,
    MappingRule,
    StepExecution,
    StepState,
    Workflow,
    WorkflowRun,
    WorkflowRunState,
    WorkflowStep,
)
from swarm.ticket.v1.bulk_pb2 import BulkAction, BulkResult
from swarm.ticket.v1.claim_pb2 import Claim, ClaimAnswer, ClaimEvent, ClaimOutcome
from swarm.ticket.v1.diff_pb2 import FileStat, GetTicketDiffResponse
from swarm.ticket.v1.service_pb2 import ImportSpecResponse, WatchTicketResponse
from swarm.ticket.v1.ticket_pb2 import (
    Attempt,
    AttemptState,
    BootTier,
    BootTiming,
    Event,
    ExecutionMode,
    IsolationClass,
    Resources,
    Ticket,
    TicketSpec,
    TicketState,
    TicketType,
)
from swarm.vm.v1.vm_pb2 import Vm, VmHealth, VmSample, VmState

__all__ = [
    "Agent",
    "AgentState",
    "Attempt",
    "AttemptState",
    "AuditHead",
    "AuditLog",
    "AuditVerdict",
    "BootTier",
    "BootTiming",
    "BulkAction",
    "BulkResult",
    "Capacity",
    "Channel",
    "Circuit",
    "CircuitState",
    "Claim",
    "ClaimAnswer",
    "ClaimEvent",
    "ClaimOutcome",
    "CleanupReport",
    "CleanupRun",
    "CompleteOn",
    "CoordinatorState",
    "CoordinatorStatus",
    "Event",
    "ExecutionMode",
    "FailureCount",
    "Failures",
    "FileStat",
    "GetTicketDiffResponse",
    "HealthCheck",
    "HealthStatus",
    "Host",
    "HostState",
    "Image",
    "ImportSpecResponse",
    "IsolationClass",
    "Key",
    "KeySpec",
    "LiveAgent",
    "LogLine",
    "Login",
    "MappingRule",
    "Notification",
    "NotificationKind",
    "Preferences",
    "Progress",
    "Project",
    "ProjectSpec",
    "PullRequest",
    "PullRequestState",
    "Resources",
    "Role",
    "Rule",
    "Setting",
    "StepExecution",
    "StepState",
    "SwarmStatus",
    "Template",
    "Tenant",
    "TenantSpec",
    "Ticket",
    "TicketSpec",
    "TicketState",
    "TicketType",
    "Tokens",
    "Usage",
    "User",
    "UserSpec",
    "Vm",
    "VmHealth",
    "VmSample",
    "VmState",
    "WatchLiveAgentsResponse",
    "WatchTicketResponse",
    "Workflow",
    "WorkflowRun",
    "WorkflowRunState",
    "WorkflowStep",
    "name_of",
    "tier_of",
    "to_dict",
    "to_json",
]


def to_dict(message: Message) -> dict[str, Any]:
    """As protojson with proto field names; unset scalars are shown, so that the keys are always the same."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def to_json(message: Message) -> str:
    """`to_dict` as one line of text."""
    return json.dumps(to_dict(message), ensure_ascii=False)


def name_of(message: Message, field: str) -> str:
    """Short name of an enum field, such as "in_review" or "T1"; empty when it is unspecified.

    A value that this client does not know yet is shown as its number.
    """
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    number = getattr(message, field)
    if enum is None:
        raise TypeError(f"{field} is no enum")
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    value = enum.values_by_number.get(number)
    if value is None:
        return str(number)
    return "" if number == 0 else str(value.name).removeprefix(prefix).lower()


def tier_of(boot: BootTiming) -> str:
    """How a VM came up, as people write it: T0, T1, T1s, T2, or nothing when it has not."""
    return name_of(boot, "tier").upper().replace("S", "s")
