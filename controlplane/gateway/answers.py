"""Answers: JSON with ETags and gzip, and the errors of the tree."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from google.protobuf import json_format

from controlplane.api.status import status_of
from controlplane.errors import MethodNotAllowed, SwarmError, Unauthenticated
from controlplane.gateway.faults import NotAcceptable

JSON: Final = "application/json"
WORTH_PACKING: Final = 1024
PACKED_ASIDE: Final = 256 << 10  # larger answers are packed on another thread
_LEVEL: Final = 1
_SUFFIX: Final = ".gz"
_VARY: Final = {"Vary": "Accept-Encoding, Authorization"}


async def tagged_answer(request: web.BaseRequest, body: bytes, kind: str = JSON) -> web.Response:
    """200 with an ETag, or 304 to who has it already."""
    tag = hashlib.blake2b(body, digest_size=16).hexdigest()
    packed = _packs(request, body)
    headers = {**_VARY, "ETag": f'"{tag}{_SUFFIX if packed else ""}"', "Cache-Control": "private, no-cache"}
    if _has(request, tag):
        return web.Response(status=304, headers=headers)
    return await _answer(body, kind, headers, packed=packed)


async def plain_answer(request: web.BaseRequest, body: bytes) -> web.Response:
    """200 with JSON that nobody keeps."""
    return await _answer(body, JSON, _VARY, packed=_packs(request, body))


async def _answer(body: bytes, kind: str, headers: Mapping[str, str], *, packed: bool) -> web.Response:
    if packed:
        headers = {**headers, "Content-Encoding": "gzip"}
        body = await asyncio.to_thread(_pack, body) if len(body) > PACKED_ASIDE else _pack(body)
    return web.Response(body=body, content_type=kind, headers=headers)


def _packs(request: web.BaseRequest, body: bytes) -> bool:
    return len(body) > WORTH_PACKING and takes(request, "Accept-Encoding", "gzip")


def refusal(error: SwarmError, request_id: str) -> web.Response:
    """The error as JSON, with its status and what HTTP wants said in headers."""
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="swarm"'
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(methods(error))
    body = json.dumps(described(error, request_id)).encode()
    return web.Response(status=error.http_status, body=body, content_type=JSON, headers=headers)


def methods(error: MethodNotAllowed) -> list[str]:
    """What would do there, with what follows from it."""
    return sorted({*error.allow, "OPTIONS", *(["HEAD"] if "GET" in error.allow else [])})


def described(error: SwarmError, request_id: str) -> Mapping[str, Any]:
    """`code` is the canonical name; `details` are those that gRPC clients get, as protojson."""
    status = json_format.MessageToDict(status_of(error, request_id), preserving_proto_field_name=True)
    return {
        "code": error.code,
        "message": status.get("message", ""),
        "details": status.get("details", []),
        "request_id": request_id,
    }


def expect_accept(request: web.BaseRequest, kind: str) -> None:
    """`NotAcceptable` for who takes nothing of the kind."""
    if not takes(request, "Accept", kind):
        raise NotAcceptable(f"this answers with {kind}")


def takes(request: web.BaseRequest, header: str, what: str) -> bool:
    """Whether a header such as Accept allows something: without the header a type is taken, a coding is not."""
    given = ",".join(request.headers.getall(header, ()))
    if not given:
        return "/" in what
    found = dict(map(_quality, given.split(",")))
    wider = (what, f"{what.partition('/')[0]}/*", "*/*") if "/" in what else (what, "*")
    return next((found[one] > 0 for one in wider if one in found), False)


def _quality(given: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in given.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return name, float(parameter[2:])
            except ValueError:
                return name, 0.0
    return name, 1.0


def _has(request: web.BaseRequest, tag: str) -> bool:
    given = ",".join(request.headers.getall("If-None-Match", ()))
    known = {one.strip().removeprefix("W/").strip('"').removesuffix(_SUFFIX) for one in given.split(",")}
    return given.strip() == "*" or tag in known


def _pack(body: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, wbits=31)
    return packer.compress(body) + packer.flush()
