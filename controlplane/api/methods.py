"""What the descriptors say about each public method: its messages, its shape and its policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from controlplane.domain.call import Role
from controlplane.errors import StartError
from swarm.admin.v1 import service_pb2 as admin
from swarm.agent.v1 import service_pb2 as agent
from swarm.audit.v1 import service_pb2 as audit
from swarm.auth.v1 import service_pb2 as auth
from swarm.coordinator.v1 import service_pb2 as coordinator
from swarm.fleet.v1 import service_pb2 as fleet
from swarm.hostlink.v1 import service_pb2 as hostlink
from swarm.key.v1 import service_pb2 as key
from swarm.notification.v1 import service_pb2 as notification
from swarm.options.v1.options_pb2 import Policy, RateTier, policy
from swarm.project.v1 import service_pb2 as project
from swarm.pullrequest.v1 import service_pb2 as pullrequest
from swarm.registry.v1 import service_pb2 as registry
from swarm.ticket.v1 import service_pb2 as ticket
from swarm.vm.v1 import service_pb2 as vm

FILES = (
    ticket,
    agent,
    project,
    pullrequest,
    vm,
    fleet,
    coordinator,
    registry,
    auth,
    key,
    admin,
    audit,
    notification,
    hostlink,
)

TICKETS = "swarm.ticket.v1.TicketService"


@dataclass(frozen=True, slots=True)
class Method:
    """`name` is the full name, such as "swarm.ticket.v1.TicketService.GetTicket"; `tier` such as "global".

    `ticket` is the field of the request that names a ticket; empty: none does.
    """

    name: str
    request: type[Message]
    response: type[Message]
    client_streaming: bool
    server_streaming: bool
    role: Role
    tier: str
    audit: str
    idempotent: bool
    fleet: bool = False
    ticket: str = ""

    @property
    def noun(self) -> str:
        """What its service is about: the second part of the package."""
        return self.name.split(".")[1]

    @property
    def verb(self) -> str:
        """Its own name, such as "GetTicket"."""
        return self.name.rpartition(".")[2]

    @property
    def changes(self) -> bool:
        """Whether it does more than read; all that viewers may not do counts."""
        return bool(self.audit) or self.idempotent or self.role > Role.VIEWER

    @property
    def streaming(self) -> bool:
        return self.client_streaming or self.server_streaming


def services() -> Iterator[ServiceDescriptor]:
    """All services that are served."""
    for file in FILES:
        yield from file.DESCRIPTOR.services_by_name.values()


def methods(served: Iterable[ServiceDescriptor]) -> Mapping[str, Method]:
    """Every method by full name; a method without a complete policy is a `StartError`."""
    found = [method_of(descriptor) for service in served for descriptor in service.methods]
    return {method.name: method for method in found}


def method_of(descriptor: MethodDescriptor) -> Method:
    """What one descriptor says."""
    options = descriptor.GetOptions()
    if not options.HasExtension(policy):
        raise StartError(f"{descriptor.full_name} has no policy")
    rules: Policy = options.Extensions[policy]
    if not rules.role or not rules.rate_tier:
        raise StartError(f"the policy of {descriptor.full_name} lacks a role or a rate tier")
    return Method(
        name=descriptor.full_name,
        request=GetMessageClass(descriptor.input_type),
        response=GetMessageClass(descriptor.output_type),
        client_streaming=bool(descriptor.client_streaming),
        server_streaming=bool(descriptor.server_streaming),
        role=Role(rules.role),
        tier=RateTier.Name(rules.rate_tier).removeprefix("RATE_TIER_").lower(),
        audit=rules.audit,
        idempotent=rules.idempotent,
        fleet=rules.fleet,
        ticket=ticket_field(descriptor),
    )


def ticket_field(descriptor: MethodDescriptor) -> str:
    fields = descriptor.input_type.fields_by_name
    named = "id" if descriptor.containing_service.full_name == TICKETS else ""
    return next((name for name in ("ticket_id", named) if name in fields), "")
