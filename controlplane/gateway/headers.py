"""What every answer says beside its content, and what of a request's head a call gets to know."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from aiohttp import web

from controlplane.errors import InvalidInput
from controlplane.gateway.faults import HeadTooLarge, TargetTooLong

LONGEST_PATH: Final = 4096
LONGEST_QUERY: Final = 8192
LONGEST_HEAD: Final = 32 << 10
REQUEST_ID: Final = "X-Request-Id"
FORWARDED: Final = (
    "authorization",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "user-agent",
)
# Each proxy may add a line of its own: they are one value, and what makes no sense is ignored where it is read.
JOINED: Final = ("x-forwarded-for", "x-correlation-id")
# What a page of another site may send.
TAKEN: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Traceparent",
    "X-Correlation-Id",
    "X-Request-Id",
    "X-Request-Timeout",
)
ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "swarm",
}


def check(request: web.BaseRequest) -> None:
    """Refuses heads that are too large, and those that two servers could read in two ways."""
    url = request.rel_url
    if len(url.raw_path) > LONGEST_PATH:
        raise TargetTooLong(f"a path has at most {LONGEST_PATH} bytes")
    if len(url.raw_query_string) > LONGEST_QUERY:
        raise TargetTooLong(f"a query has at most {LONGEST_QUERY} bytes")
    if sum(len(name) + len(value) + 4 for name, value in request.raw_headers) > LONGEST_HEAD:
        raise HeadTooLarge(f"all headers together have at most {LONGEST_HEAD} bytes")
    if len(request.headers.getall("Host", ())) != 1 and request.version != (1, 0):
        raise InvalidInput("there must be one Host header")


def metadata_of(request: web.BaseRequest, request_id: str) -> dict[str, str]:
    """What a call knows of its request: the same keys that a gRPC client sends as metadata."""
    found = {"x-request-id": request_id}
    for name in FORWARDED:
        values = request.headers.getall(name, ())
        if len(values) > 1:
            raise InvalidInput(f"there is more than one {name} header")
        if values and not values[0].isascii():
            raise InvalidInput(f"the {name} header is not ASCII")
        if values:
            found[name] = values[0]
    for name in JOINED:
        if name in request.headers:
            found[name] = ", ".join(request.headers.getall(name))
    return found


def peer_of(request: web.BaseRequest) -> str:
    """Where a request comes from, as gRPC writes it."""
    name = request.transport.get_extra_info("peername") if request.transport else None
    if not isinstance(name, tuple):
        return "unix:"
    host, port = name[:2]
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"


class Origins:
    """The web sites, beside our own, whose pages may call; see `--cors-origins`."""

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self._allowed = frozenset(allowed)

    def allows(self, request: web.BaseRequest) -> bool:
        """Whether the page that sends this may: our own, or one that is named. Programs send no origin."""
        origin = request.headers.get("Origin")
        if origin is None or origin in self._allowed:
            return True
        scheme = "https" if request.secure else "http"
        return origin in {f"{scheme}://{request.host}", f"https://{request.host}"}

    def headers(self, request: web.BaseRequest) -> Mapping[str, str]:
        """Lets the browser show an answer to a page that is named."""
        if not self._allowed:
            return {}
        origin = request.headers.get("Origin", "")
        if origin not in self._allowed:
            return {"Vary": "Origin"}
        shown = "ETag, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, X-Request-Id"
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": shown,
            "Cross-Origin-Resource-Policy": "cross-origin",
        }

    def preflight(self, request: web.BaseRequest, allow: Collection[str]) -> Mapping[str, str]:
        """What a page that is named may send; nothing for others."""
        if request.headers.get("Origin", "") not in self._allowed:
            return {}
        return {
            "Access-Control-Allow-Methods": ", ".join(allow),
            "Access-Control-Allow-Headers": ", ".join(TAKEN),
            "Access-Control-Max-Age": "600",
        }
