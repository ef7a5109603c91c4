"""In front of all that HTTP serves: ids, limits of heads, CORS, security headers, and errors as JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from aiohttp import web

from controlplane.api.answer import begin
from controlplane.api.stages.identify import request_id
from controlplane.errors import MethodNotAllowed, NotFound, SwarmError
from controlplane.gateway import headers
from controlplane.gateway.answers import methods, refusal
from telemetry import logs

COMMON: Final = web.RequestKey("common", dict[str, str])
TOLD: Final = web.RequestKey("told", dict[str, str])  # what the pipeline says of the call, once it knows

log = logging.getLogger(__name__)

# Answers one request. SwarmError is answered with its status, as long as nothing was sent yet.
Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Front:
    """`handlers` by the first segment of the path."""

    def __init__(self, handlers: Mapping[str, Handler], origins: headers.Origins) -> None:
        self._handlers = handlers
        self._origins = origins

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        known = request_id({"x-request-id": request.headers.get(headers.REQUEST_ID, "")})
        logs.begin(request_id=known)
        request[TOLD] = begin()
        request[COMMON] = {**headers.ALWAYS, headers.REQUEST_ID: known, **self._origins.headers(request)}
        answer = await self._answer(request, known)
        if not answer.prepared:
            dress(request, answer)
        return answer

    async def _answer(self, request: web.BaseRequest, known: str) -> web.StreamResponse:
        try:
            headers.check(request)
            return await self._handlers.get(request.path.split("/")[1], nothing)(request)
        except MethodNotAllowed as error:
            return self._options(request, error) if request.method == "OPTIONS" else refusal(error, known)
        except SwarmError as error:
            return refusal(error, known)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("an HTTP request failed")
            return refusal(SwarmError(f"internal error, see the log for {known}"), known)

    def _options(self, request: web.BaseRequest, error: MethodNotAllowed) -> web.Response:
        """What would do there: asked by people, or by a browser before it sends what a page wants."""
        allow = methods(error)
        said = {"Allow": ", ".join(allow), **self._origins.preflight(request, allow)}
        return web.Response(status=204, headers=said)


async def nothing(_: web.BaseRequest) -> web.StreamResponse:
    raise NotFound("there is nothing here; see /docs for all that there is")


def dress(request: web.BaseRequest, answer: web.StreamResponse) -> None:
    """Adds the headers of all answers to one that is about to begin; what it says itself stands."""
    for name, value in (request[TOLD] | request[COMMON]).items():
        if name == "Vary" and name in answer.headers:
            answer.headers[name] = f"{answer.headers[name]}, {value}"
        else:
            answer.headers.setdefault(name, value)


def known_id(request: web.BaseRequest) -> str:
    """The id of the request, as its answer says it."""
    return str(request[COMMON][headers.REQUEST_ID])
