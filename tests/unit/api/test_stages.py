from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import pairwise

import pytest
from google.protobuf import struct_pb2
from google.protobuf.message import Message

from controlplane.api.answer import begin
from controlplane.api.methods import Method, methods, services
from controlplane.api.stages.authorize import authorize
from controlplane.api.stages.feed import Feeds
from controlplane.api.stages.identify import request_id
from controlplane.api.stages.proxies import Proxies, network_of
from controlplane.api.stages.ratelimit import RateLimit
from controlplane.api.stages.validate import has_rules, validate
from controlplane.domain.call import Principal, Role
from controlplane.errors import Forbidden, InvalidInput, RateLimited, SwarmError, Unauthenticated, Unavailable
from controlplane.ratelimits.window import Window
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


def limits(clock: Clock, *, admin: int = 6000, **per_minute: int) -> RateLimit:
    return RateLimit(per_minute, admin=admin, window=Window(clock))


async def test_no_minute_has_more_calls_than_the_limit() -> None:
    clock = Clock()
    limit, somebody = limits(clock, ai=60), Principal("somebody", Role.DEVELOPER)
    for _ in range(60):
        clock.now += 0.5
        await limit.take(somebody, "ai")
    with pytest.raises(RateLimited) as refused:
        await limit.take(somebody, "ai")
    assert refused.value.retry_after_s == pytest.approx(30.5)
    clock.now += 30.6
    await limit.take(somebody, "ai")
    with pytest.raises(RateLimited):
        await limit.take(somebody, "ai")


async def test_principals_and_tiers_are_counted_apart_and_the_embedded_admin_by_a_limit_of_its_own() -> None:
    limit = limits(Clock(), admin=3, ai=1, auth=1)
    one, two = (Principal(name, Role.DEVELOPER) for name in ("one", "two"))
    for principal, tier in ((one, "auth"), (one, "ai"), (two, "auth")):
        await limit.take(principal, tier)
    with pytest.raises(RateLimited):
        await limit.take(one, "ai")
    for _ in range(3):
        await limit.take(Principal("admin", Role.ADMIN), "ai")
    human = Principal("user:us_1", Role.ADMIN, user_id="us_1")
    await limit.take(human, "ai")
    with pytest.raises(RateLimited):
        await limit.take(human, "ai")
    for _ in range(1000):
        await limit.take(one, "exempt")


async def test_many_keys_of_one_user_share_the_limit_of_the_user() -> None:
    limit = limits(Clock(), ai=3)
    keys = [Principal(f"key:{number}", Role.DEVELOPER, user_id="us_1") for number in range(4)]
    for key in keys[:3]:
        await limit.take(key, "ai")
    for late in (keys[3], Principal("user:us_1", Role.DEVELOPER, user_id="us_1")):
        with pytest.raises(RateLimited):
            await limit.take(late, "ai")


async def test_whoever_is_counted_is_told_what_is_left() -> None:
    headers, limit, somebody = begin(), limits(Clock(), ai=2), Principal("somebody", Role.DEVELOPER)
    await limit.take(somebody, "ai")
    assert headers == {
        "ratelimit-limit": "2",
        "ratelimit-remaining": "1",
        "ratelimit-reset": "60",
        "ratelimit-policy": '"ai";q=2;w=60',
        "ratelimit": '"ai";r=1;t=60',
    }
    await limit.take(somebody, "ai")
    with pytest.raises(RateLimited):
        await limit.take(somebody, "ai")
    assert (headers["ratelimit-remaining"], headers["retry-after"]) == ("0", "60")


def test_of_too_many_keys_the_longest_silent_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.ratelimits.window.MOST_KEYS", 3)
    window = Window(Clock())
    for key in ("a", "b", "c", "a", "d"):
        window.take(key, 10)
    assert [window.take(key, 10).remaining for key in ("a", "b")] == [7, 9]


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("ipv4:10.0.0.1:99", None, "10.0.0.1"),
        ("ipv4:10.0.0.1:99", "9.9.9.9", "9.9.9.9"),
        ("ipv4:10.0.0.1:99", "1.1.1.1, 9.9.9.9, 10.0.0.2", "9.9.9.9"),
        ("ipv4:10.0.0.1:99", "9.9.9.9, rubbish", "10.0.0.1"),
        ("ipv4:10.0.0.1:99", "", "10.0.0.1"),
        ("ipv4:10.0.0.1:99", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("ipv4:8.8.8.8:99", "9.9.9.9", "8.8.8.8"),
        ("ipv6:%5B::ffff:10.0.0.1%5D:99", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2:3::4]:99", "9.9.9.9", "2001:db8:1:2::/64"),
        ("unix:", "9.9.9.9", "local"),
        ("rubbish", "9.9.9.9", "local"),
    ],
)
def test_a_forwarded_address_counts_as_far_as_trusted_proxies_wrote_it(
    peer: str, forwarded: str | None, caller: str
) -> None:
    metadata = {} if forwarded is None else {"x-forwarded-for": forwarded}
    assert network_of(Proxies(["10.0.0.0/8"]).caller(peer, metadata)) == caller
    assert network_of(Proxies().caller(peer, metadata)) == network_of(peer)


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

    async def run(self) -> AsyncGenerator[pb.WatchTicketResponse, None]:
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
    async def broken() -> AsyncGenerator[pb.WatchTicketResponse, None]:
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
