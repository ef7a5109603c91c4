"""Plain answers for those who look after the process: /healthz, /readyz and /metrics."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from controlplane import metrics
from controlplane.domain.call import Role
from controlplane.errors import Forbidden, NotFound, SwarmError
from controlplane.gateway.admission import Admission
from controlplane.gateway.answers import JSON
from controlplane.gateway.faults import expect_get

CHECK_S: Final = 5.0

# Raises SwarmError with the reason why this part cannot serve now.
Check = Callable[[], Awaitable[None]]


async def healthz(request: web.BaseRequest) -> web.Response:
    """The process answers."""
    expect_get(request)
    return web.Response(body=b'{"status":"ok"}', content_type=JSON)


class Readiness:
    """Whether every part can serve: 200, or 503 with what cannot."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks

    async def handle(self, request: web.BaseRequest) -> web.Response:
        expect_get(request)
        found = dict(zip(self._checks, await asyncio.gather(*map(_look, self._checks.values())), strict=True))
        ready = all(state == "ok" for state in found.values())
        body = {"status": "ready" if ready else "not ready", "checks": found}
        return web.Response(status=200 if ready else 503, body=json.dumps(body).encode(), content_type=JSON)


async def _look(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_S):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_S:g} s"
    except SwarmError as error:
        return error.message
    return "ok"


class Metrics:
    """For those who ask from this machine, not through a proxy, and for operators."""

    def __init__(self, admission: Admission, *, enabled: bool) -> None:
        self._admission = admission
        self._enabled = enabled

    async def handle(self, request: web.BaseRequest) -> web.Response:
        if not self._enabled:
            raise NotFound("there is nothing here")
        expect_get(request)
        if not _is_near(request):
            await self._expect_operator(request)
        body, kind = metrics.rendered()
        return web.Response(body=body, headers={"Content-Type": kind})

    async def _expect_operator(self, request: web.BaseRequest) -> None:
        admitted = await self._admission.of(request)
        role = admitted.principal.role if admitted else Role.PUBLIC
        if role is Role.HOST or role < Role.OPERATOR:
            raise Forbidden("metrics are for operators, and for this machine")


def _is_near(request: web.BaseRequest) -> bool:
    name = request.transport.get_extra_info("peername") if request.transport else None
    proxied = any(header in request.headers for header in ("Forwarded", "X-Forwarded-For", "Via"))
    return isinstance(name, tuple) and ipaddress.ip_address(name[0]).is_loopback and not proxied
