"""Who a WebSocket is for. Browsers cannot send headers with one, so there are other ways to show a credential."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from aiohttp import web

from controlplane.api.pipeline import Authenticate, Metadata
from controlplane.domain.call import Principal
from controlplane.errors import InvalidInput, Unauthenticated
from controlplane.gateway.front import known_id
from controlplane.gateway.headers import metadata_of, peer_of

LONGEST_CREDENTIAL: Final = 8192
IN_QUERY: Final = ("ticket", "token")  # for browsers, which send no headers with a WebSocket

# Counts a credential that is none for the address that it came from; RateLimited when that tries too often.
Failed: TypeAlias = Callable[[Metadata, str], Awaitable[None]]


class Tickets(Protocol):
    """Single-use tickets for WebSockets."""

    async def authenticate_ticket(self, ticket: str) -> Principal:
        """Whom it was made for; it is used up then. Unauthenticated for one that is not good."""
        ...

    def again(self, principal: Principal) -> Principal:
        """The principal as it is now; Unauthenticated once its login is over."""
        ...


@dataclass(frozen=True, slots=True)
class Pass:
    """Who somebody is for now: `authenticate(metadata)` says it again, or raises once the credential is over."""

    principal: Principal
    metadata: Mapping[str, str]
    authenticate: Authenticate


class Admission:
    """Takes a credential out of a request."""

    def __init__(
        self, authenticate: Authenticate, tickets: Tickets | None = None, *, failed: Failed | None = None
    ) -> None:
        self._authenticate = authenticate
        self._tickets = tickets
        self._failed = failed

    async def of(self, request: web.BaseRequest) -> Pass | None:
        """By the Authorization header, `?ticket=` or `?token=`; None: it shows no credential."""
        metadata = metadata_of(request, known_id(request))
        async with self._counted(request, metadata):
            return await self._shown(request, metadata)

    async def by_token(self, request: web.BaseRequest, token: str) -> Pass:
        """By what would be a bearer token in a header."""
        metadata = metadata_of(request, known_id(request))
        async with self._counted(request, metadata):
            return self._by_token(token, metadata)

    @contextlib.asynccontextmanager
    async def _counted(self, request: web.BaseRequest, metadata: Mapping[str, str]) -> AsyncIterator[None]:
        try:
            yield
        except Unauthenticated:
            if self._failed is not None:
                await self._failed(metadata, peer_of(request))
            raise

    async def _shown(self, request: web.BaseRequest, metadata: Mapping[str, str]) -> Pass | None:
        given = [name for name in IN_QUERY if name in request.rel_url.query]
        if len(given) + ("authorization" in metadata) > 1:
            raise InvalidInput("there is more than one credential")
        if "ticket" in given:
            return await self._by_ticket(request.rel_url.query["ticket"], metadata)
        if "token" in given:
            return self._by_token(request.rel_url.query["token"], metadata)
        return self._again(metadata) if "authorization" in metadata else None

    def _by_token(self, token: str, metadata: Mapping[str, str]) -> Pass:
        if not token.isascii() or len(token) > LONGEST_CREDENTIAL:
            raise Unauthenticated("the token is not known here")
        return self._again({**metadata, "authorization": f"Bearer {token}"})

    async def _by_ticket(self, ticket: str, metadata: Mapping[str, str]) -> Pass:
        if self._tickets is None or not ticket.isascii() or len(ticket) > LONGEST_CREDENTIAL:
            raise Unauthenticated("the ticket is not known here, or was used")
        tickets, principal = self._tickets, await self._tickets.authenticate_ticket(ticket)

        return Pass(principal, metadata, lambda _: tickets.again(principal))

    def _again(self, metadata: Mapping[str, str]) -> Pass:
        return Pass(self._authenticate(metadata), metadata, self._authenticate)
