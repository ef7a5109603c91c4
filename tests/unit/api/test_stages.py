from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from google.protobuf import struct_pb2
from google.protobuf.message import Message

from controlplane.api.methods import Method, methods, services
from controlplane.api.stages.authorize import authorize
from controlplane.api.stages.feed import Feeds
from controlplane.api.stages.identify import request_id
from controlplane.api.stages.ratelimit import MOST_BUCKETS, RateLimit
from controlplane.api.stages.validate import has_rules, validate
from controlplane.domain.call import Principal, Role
from controlplane.errors import Forbidden, InvalidInput, RateLimited, SwarmError, Unauthenticated, Unavailable
from swarm.hostlink.v1 import service_pb2
from swarm.ticket.v1 import service_pb2 as pb
from swarm.ticket.v1 import ticket_pb2

METHODS = methods(services())
RULED = {
    service_pb2.AttachRequest: False,  # what hosts say all the time is checked by hand
    pb.GetTicketRequest: True,
    pb.CreateTicketsRequest: True,
    struct_pb2.Struct: False,  # may hold itself
}
PEOPLE = [Role.VIEWER, Role.DEVELOPER, Role.APPROVER, Role.OPERATOR, Role.ADMIN]


def may(method: Method, role: Role) -> bool:
    try:
        authorize(method, Principal("somebody", role))
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_roles_are_ordered_and_hosts_stand_apart(method: Method) -> None:
    if method.role is Role.PUBLIC:
        assert all(may(method, role) for role in Role)
        return
    allowed = [may(method, role) for role in PEOPLE]
    assert all(not before or after for before, after in pairwise(allowed))
    assert may(method, Role.HOST) is (method.role is Role.HOST)
    assert any(allowed) is (method.role is not Role.HOST)
    assert not may(method, Role.PUBLIC)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_what_changes_something_is_audited_and_no_viewers_business(method: Method) -> None:
    name = method.name.rpartition(".")[2]
    if method.noun in {"auth", "key", "notification"}:  # of themselves even viewers change something; some hold secrets
        assert not method.idempotent
        return
    if method.role is Role.HOST or name.startswith(("Get", "List", "Watch")):
        assert not method.audit
        return
    # A renewal every few seconds is no act of anybody's; that the lease was taken and ended is on record.
    assert method.audit or name == "HeartbeatTicket"
    assert method.role > Role.VIEWER
    assert method.idempotent or method.streaming or name in {"CreateUser", "ResetUser"}  # which answer a secret


def test_a_harmless_request_id_is_kept_and_another_replaced() -> None:
    assert request_id({"x-request-id": "abc-1.2_3"}) == "abc-1.2_3"
    for bad in ("", "a b", "x" * 65, "a\nb", "é"):
        assert request_id({"x-request-id": bad}).startswith("rq_")
    assert request_id({}) != request_id({})


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_fills_again() -> None:
    clock = Clock()
    limit = RateLimit({"global": 60}, admin=6000, clock=clock)
    somebody = Principal("somebody", Role.DEVELOPER)
    for _ in range(60):
        limit.take(somebody, "global")
    with pytest.raises(RateLimited) as refused:
        limit.take(somebody, "global")
    assert refused.value.retry_after_s == pytest.approx(1.0)
    clock.now += 1
    limit.take(somebody, "global")
    with pytest.raises(RateLimited):
        limit.take(somebody, "global")


def test_principals_and_tiers_have_buckets_of_their_own() -> None:
    limit = RateLimit({"global": 1, "ai": 1}, admin=3, clock=Clock())
    one, two, admin = (Principal(name, Role.DEVELOPER) for name in ("one", "two", "three"))
    for principal, tier in ((one, "global"), (one, "ai"), (two, "global"), (admin, "global")):
        limit.take(principal, tier)
    with pytest.raises(RateLimited):
        limit.take(one, "ai")
    for _ in range(3):
        limit.take(Principal("admin", Role.ADMIN), "ai")
    for _ in range(1000):
        limit.take(one, "exempt")


def test_buckets_of_the_silent_are_forgotten() -> None:
    clock = Clock()
    limit = RateLimit({"global": 10}, admin=10, clock=clock)
    for number in range(MOST_BUCKETS):
        limit.take(Principal(str(number), Role.VIEWER), "global")
    clock.now += 61
    limit.take(Principal("one more", Role.VIEWER), "global")
    assert len(limit._buckets) == 1


def test_violations_point_to_the_field() -> None:
    spec = ticket_pb2.TicketSpec(title="x", depends_on=["", "ok"], resources=ticket_pb2.Resources(vcpus=33))
    spec.resources.labels["a~/b"] = "x" * 64
    with pytest.raises(InvalidInput) as refused:
        validate(pb.CreateTicketRequest(spec=spec))
    assert [violation.field for violation in refused.value.violations] == [
        "/spec/depends_on/0",
        "/spec/resources/vcpus",
        "/spec/resources/labels/a~0~1b",
    ]
    with pytest.raises(InvalidInput) as refused:
        validate(pb.CreateTicketRequest())
    assert [violation.field for violation in refused.value.violations] == ["/spec"]


class Handler:
    """A stream that says one thing and then waits for ever."""

    def __init__(self) -> None:
        self.stopped = False

    async def run(self) -> AsyncIterator[pb.WatchTicketResponse]:
        try:
            yield pb.WatchTicketResponse()
            await asyncio.Event().wait()
        finally:
            self.stopped = True


async def test_a_stream_ends_when_its_principal_is_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.api.stages.feed.RECHECK_S", 0.01)
    known = [Principal("somebody", Role.VIEWER)]

    def recheck() -> Principal:
        if not known:
            raise Unauthenticated("gone")
        return known[0]

    feeds, handler = Feeds(), Handler()
    answers = feeds.follow(handler.run(), recheck)
    await anext(answers)
    known.clear()
    with pytest.raises(Unauthenticated):
        await anext(answers)
    assert handler.stopped
    feeds.end()


async def test_streams_end_with_the_process_and_with_their_reader() -> None:
    feeds, first, second = Feeds(), Handler(), Handler()
    somebody = Principal("somebody", Role.VIEWER)
    answers, others = feeds.follow(first.run(), lambda: somebody), feeds.follow(second.run(), lambda: somebody)
    await anext(answers)
    await anext(others)
    await others.aclose()
    assert (first.stopped, second.stopped) == (False, True)
    feeds.end()
    with pytest.raises(Unavailable):
        await anext(answers)
    assert first.stopped


async def test_the_error_of_a_handler_reaches_the_reader_after_what_it_said() -> None:
    async def broken() -> AsyncIterator[pb.WatchTicketResponse]:
        yield pb.WatchTicketResponse()
        raise SwarmError("broken")

    feeds = Feeds()
    answers = feeds.follow(broken(), lambda: Principal("somebody", Role.VIEWER))
    await anext(answers)
    with pytest.raises(SwarmError, match="broken"):
        await anext(answers)
    feeds.end()


@pytest.mark.parametrize(("kind", "ruled"), RULED.items())
def test_a_message_is_looked_at_only_if_rules_reach_into_it(kind: type[Message], ruled: bool) -> None:  # noqa: FBT001
    assert has_rules(kind.DESCRIPTOR) is ruled
