"""Every public call passes here, whatever edge it came in by:

request id -> authenticate -> rate limit -> authorize -> validate -> unit of work -> metrics, log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from google.protobuf.message import Message

from controlplane import metrics
from controlplane.api.bindings import Action, Binding, Bindings, Query, Stream, check
from controlplane.api.methods import Method
from controlplane.api.stages.authorize import authorize
from controlplane.api.stages.characters import refuse_nul
from controlplane.api.stages.feed import Feeds
from controlplane.api.stages.identify import address_of
from controlplane.api.stages.observe import Observed
from controlplane.api.stages.proxies import Proxies, network_of
from controlplane.api.stages.ratelimit import EXEMPT, FAILED, RateLimit
from controlplane.api.stages.unitofwork import Job, UnitOfWork, key_of
from controlplane.api.stages.validate import validate
from controlplane.domain.call import Call, Principal, Role
from controlplane.errors import DeadlineExceeded, InvalidInput, Unauthenticated, Unimplemented
from controlplane.usecases.services import Services
from telemetry.logs import bind

Metadata: TypeAlias = Mapping[str, str]
Authenticate: TypeAlias = Callable[[Metadata], Principal]

STORE_TIMEOUT_S: Final = 30.0
ACTION_TIMEOUT_S: Final = 900.0
FIRST_TIMEOUT_S: Final = 30.0


class Dispatcher:
    """Knows nothing of gRPC or HTTP: messages, metadata with lower-case keys, and errors of the one tree."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        bindings: Bindings,
        services: Services,
        *,
        authenticate: Authenticate,
        rate_limit: RateLimit,
        proxies: Proxies | None = None,
        take_work: Callable[[], None] = lambda: None,
    ) -> None:
        """`take_work` raises what refuses every change by a client for now; reads, and what hosts report, go on."""
        check(methods, bindings)
        self.methods = methods
        self._bindings = bindings
        self._services = services
        self._authenticate = authenticate
        self._rate_limit = rate_limit
        self._proxies = proxies or Proxies()
        self._take_work = take_work
        self._work = UnitOfWork(services)
        self._feeds = Feeds()

    async def close(self) -> None:
        """Ends the open streams and waits for the actions that run."""
        self._feeds.end()
        await self._work.close()

    async def unary(self, name: str, request: Message, metadata: Metadata, peer: str) -> Message:
        """One answer to one request; raises `SwarmError` only."""
        method, binding = self._find(name)
        peer = self._proxies.caller(peer, metadata)
        with Observed(method, metadata, peer) as seen:
            principal = await self._admit(method, metadata, peer, seen)
            expect_sound(method, request)
            call = self._call(principal, metadata, peer, seen)
            if isinstance(binding, Stream):
                raise Unimplemented(f"{name} is a stream", reason="is_stream")
            if method.ticket:
                bind(ticket_id=getattr(request, method.ticket))
            job = Job(method, call, request, key_of(method, metadata))
            if not isinstance(binding, Query) and not (isinstance(binding, Action) and binding.ongoing):
                self._take_work()
            limit = ACTION_TIMEOUT_S if isinstance(binding, Action) else STORE_TIMEOUT_S
            answer = await within(limit, self._work.run(binding, job))
            metrics.latency(name).observe(seen.seconds())
            return answer

    async def stream(
        self,
        name: str,
        requests: AsyncIterator[Message],
        metadata: Metadata,
        peer: str,
        authenticate: Authenticate | None = None,
    ) -> AsyncGenerator[Message, None]:
        """Answers of a stream; it counts once against the rate limit and ends when its principal is revoked.

        `authenticate` is for callers whose credential is not in the metadata.
        """
        method, binding = self._find(name)
        peer = self._proxies.caller(peer, metadata)
        with Observed(method, metadata, peer) as seen:
            principal = await self._admit(method, metadata, peer, seen, authenticate)
            if not isinstance(binding, Stream):
                raise Unimplemented(f"{name} is no stream", reason="is_unary")
            call = self._call(principal, metadata, peer, seen)
            incoming = checked(method, requests)
            first = await within(FIRST_TIMEOUT_S, only(incoming))
            await self._work.audit(Job(method, call, first, ""), "opened")
            answers = binding.run(self._services, call, again(first, incoming) if method.client_streaming else first)
            with metrics.API_STREAMS.labels(name).track_inprogress():
                following = self._feeds.follow(answers, lambda: self._principal(method, metadata, peer, authenticate))
                async with contextlib.aclosing(following):
                    async for answer in following:
                        yield answer

    async def enter(self, principal: Principal) -> None:
        """Counts once what stays open without being a call; `RateLimited` when it may not."""
        await self._rate_limit.take(principal, "global")

    async def refused(self, metadata: Metadata, peer: str) -> None:
        """Counts a credential that an edge found to be none: guessing has a limit too."""
        await self._rate_limit.take(anonymous(self._proxies.caller(peer, metadata)), FAILED)

    def _find(self, name: str) -> tuple[Method, Binding]:
        if name not in self.methods:
            raise Unimplemented(f"there is no method {name[:200]}")
        return self.methods[name], self._bindings[name]

    async def _admit(
        self, method: Method, metadata: Metadata, peer: str, seen: Observed, authenticate: Authenticate | None = None
    ) -> Principal:
        try:
            principal = self._principal(method, metadata, peer, authenticate)
        except Unauthenticated:
            if method.tier != EXEMPT:
                await self._rate_limit.take(anonymous(peer), FAILED)
            raise
        seen.principal = principal.name
        bind(user_id=principal.user_id, tenant_id=principal.tenant_id)
        await self._rate_limit.take(principal, method.tier)
        authorize(method, principal)
        return principal

    def _principal(self, method: Method, metadata: Metadata, peer: str, authenticate: Authenticate | None) -> Principal:
        if method.role is Role.PUBLIC:
            return anonymous(peer)
        return (authenticate or self._authenticate)(metadata)

    def _call(self, principal: Principal, metadata: Metadata, peer: str, seen: Observed) -> Call:
        return Call(
            seen.request_id,
            principal,
            self._services.store.now(),
            traceparent=seen.trace,
            address=address_of(peer),
            user_agent=metadata.get("user-agent", ""),
        )


def anonymous(peer: str) -> Principal:
    """Whoever calls without a credential, known by the address that limits count by."""
    return Principal(f"address:{network_of(peer)}", Role.PUBLIC)


async def within(seconds: float, work: Awaitable[Message]) -> Message:
    """The result of work that has a deadline whether or not its caller set one."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise DeadlineExceeded(f"not done within {seconds:g} s") from None


def expect_sound(method: Method, request: Message) -> None:
    """Raises `InvalidInput`. Hosts pass on what guests say, NUL included, which is cleaned further in."""
    validate(request)
    if method.role is not Role.HOST:
        refuse_nul(request)


async def checked(method: Method, requests: AsyncIterator[Message]) -> AsyncGenerator[Message, None]:
    """The requests of a client stream, each validated."""
    async for request in requests:
        expect_sound(method, request)
        yield request


async def again(first: Message, rest: AsyncIterator[Message]) -> AsyncGenerator[Message, None]:
    """The requests as they were before the first was taken."""
    yield first
    async for request in rest:
        yield request


async def only(requests: AsyncIterator[Message]) -> Message:
    """The first request of a stream, which is the only one of a server stream."""
    async for request in requests:
        return request
    raise InvalidInput("the request is missing", reason="no_request")
