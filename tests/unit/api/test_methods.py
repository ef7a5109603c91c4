from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from controlplane.api.bindings import Action, Command, Query, Stream, check
from controlplane.api.handlers import External, Runtime, all_bindings
from controlplane.api.methods import methods, services
from controlplane.domain.lease import TIMES
from controlplane.errors import StartError
from swarm.options.v1 import options_pb2
from tests.fakes.accounts import no_accounts, no_people

METHODS = methods(services())
GET = "swarm.ticket.v1.TicketService.GetTicket"
CREATE = "swarm.ticket.v1.TicketService.CreateTicket"
WATCH = "swarm.ticket.v1.TicketService.WatchTicket"


def nothing(*_: Any) -> Any:
    raise AssertionError("never called")


def every_binding() -> dict[str, Any]:
    link: Any = None
    runtime = Runtime(
        started_at=0,
        version="",
        connected=frozenset,
        unplaceable=lambda _: {},
        alerts=tuple,
        cleanup=nothing,
        inspect=nothing,
    )
    external = External(claims=link, times=TIMES, git_url=str)
    return dict(all_bindings(link, runtime, link, external, no_accounts(link), people=no_people(), allow_file=True))


def service(*, options: options_pb2.Policy | None) -> ServiceDescriptor:
    """A service with one method that has this policy, or none."""
    file = descriptor_pb2.FileDescriptorProto(name="odd.proto", package="odd", syntax="proto3")
    file.message_type.add(name="Empty")
    made = file.service.add(name="Odd")
    method = made.method.add(name="Do", input_type=".odd.Empty", output_type=".odd.Empty")
    if options is not None:
        method.options.Extensions[options_pb2.policy].CopyFrom(options)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName("odd.Odd")


def test_every_method_of_every_service_has_a_handler_that_fits() -> None:
    check(METHODS, every_binding())


def test_a_method_without_a_handler_fails_at_start() -> None:
    bindings = every_binding()
    del bindings[GET]
    with pytest.raises(StartError, match="GetTicket has no handler"):
        check(METHODS, bindings)


def test_a_handler_without_a_method_fails_at_start() -> None:
    with pytest.raises(StartError, match="handled but not served"):
        check(METHODS, every_binding() | {"odd.Odd.Do": Query(nothing)})


@pytest.mark.parametrize(
    ("name", "binding"),
    [(WATCH, Query(nothing)), (GET, Stream(nothing)), (CREATE, Query(nothing)), (WATCH, Action(nothing))],
    ids=["stream as query", "unary as stream", "mutation as query", "stream as action"],
)
def test_a_handler_of_the_wrong_kind_fails_at_start(name: str, binding: Any) -> None:
    with pytest.raises(StartError, match="needs another kind"):
        check(METHODS, every_binding() | {name: binding})


def test_reads_may_be_commands_only_where_they_change_something() -> None:
    assert all(not METHODS[name].audit for name, each in every_binding().items() if isinstance(each, Query))
    commands = {name for name, each in every_binding().items() if isinstance(each, Command)}
    reading = {f"swarm.notification.v1.NotificationService.{name}" for name in ("MarkRead", "MarkAllRead")}
    assert {name for name in commands if not METHODS[name].audit} == reading  # one's own mail is nobody's business


@pytest.mark.parametrize("options", [None, options_pb2.Policy(), options_pb2.Policy(role=options_pb2.Role.ROLE_ADMIN)])
def test_a_method_without_a_whole_policy_fails_at_start(options: options_pb2.Policy | None) -> None:
    with pytest.raises(StartError, match="policy"):
        methods([service(options=options)])
