"""Smart HTTP for claims: GET /git/CLAIM/info/refs, POST /git/CLAIM/git-upload-pack and /git/CLAIM/git-receive-pack."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from aiohttp import web

from controlplane.accounts.claims import ClaimSecrets
from controlplane.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    NotFound,
    SwarmError,
    Unauthenticated,
)
from controlplane.forge import pushes
from controlplane.forge.smarthttp import SmartHttp

USER: Final = "swarm"
FETCH_LIMIT: Final = 4 << 20
IDLE_S: Final = 60.0
SERVICES: Final = ("git-upload-pack", "git-receive-pack")
_PIECE: Final = 1 << 16
_PROTOCOL: Final = re.compile(r"version=[012]")

# Raises Unauthenticated unless the claim stands.
Admit = Callable[[str], Awaitable[object]]


class TooLarge(SwarmError):
    """A body beyond its limit."""

    code = "RESOURCE_EXHAUSTED"
    http_status = 413
    default_reason = "too_large"


class Unsupported(InvalidInput):
    """A body of another type or coding than this takes."""

    http_status = 415
    default_reason = "unsupported_media_type"


class WrongMethod(InvalidInput):
    http_status = 405
    default_reason = "wrong_method"


def url_with(base_url: str, attempt_id: str, secret: str) -> str:
    """The git URL of a claim, its secret in it."""
    parts = urlsplit(base_url)
    netloc = f"{USER}:{quote(secret, safe='')}@{parts.netloc}"
    return urlunsplit((parts.scheme, netloc, f"{parts.path.rstrip('/')}/git/{attempt_id}", "", ""))


class GitHttp:
    """`handle` answers everything below /git."""

    def __init__(self, smart: SmartHttp, secrets: ClaimSecrets, admit: Admit) -> None:
        self._smart = smart
        self._secrets = secrets
        self._admit = admit

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        _, _, attempt_id, *rest = [*request.path.split("/"), ""]
        what = "/".join(rest).removesuffix("/")
        if what not in {"info/refs", *SERVICES}:
            raise NotFound("git finds here info/refs, git-upload-pack and git-receive-pack of a claim")
        if request.method != ("GET" if what == "info/refs" else "POST"):
            raise WrongMethod(f"{what} is not for {request.method[:16]}")
        await self._authenticate(request, attempt_id)
        if what == "info/refs":
            return await self._info_refs(request, attempt_id)
        if request.content_type != f"application/x-{what}-request":
            raise Unsupported(f"the body is application/x-{what}-request")
        if what == "git-upload-pack":
            return await self._upload_pack(request, attempt_id)
        return await self._receive_pack(request, attempt_id)

    async def _authenticate(self, request: web.BaseRequest, attempt_id: str) -> None:
        """A wrong secret is not known; who has the right one may learn that the claim is over."""
        if not self._secrets.fits(attempt_id, _password(request)):
            raise Unauthenticated("this needs the secret of its claim")
        try:
            await self._admit(attempt_id)
        except Unauthenticated as error:
            raise Forbidden(error.message) from None

    async def _info_refs(self, request: web.BaseRequest, attempt_id: str) -> web.StreamResponse:
        service = request.query.get("service", "")
        if service not in SERVICES:
            raise Forbidden("this server is smart only: name a service")
        kind = f"application/x-{service}-advertisement"
        if service == "git-receive-pack":
            return _answer(await self._smart.advertise_push(attempt_id), kind)
        version = _version(request)
        greeting = b"" if version == "version=2" else pushes.line(b"# service=git-upload-pack\n") + pushes.FLUSH
        answer = self._smart.fetch(attempt_id, b"", version=version, advertise=True)
        return await _stream(request, kind, greeting, answer)

    async def _upload_pack(self, request: web.BaseRequest, attempt_id: str) -> web.StreamResponse:
        version, body = _version(request), bytearray()
        async with contextlib.aclosing(_body(request, FETCH_LIMIT)) as pieces:
            async for piece in pieces:
                body += piece
        answer = self._smart.fetch(attempt_id, bytes(body), version=version)
        return await _stream(request, "application/x-git-upload-pack-result", b"", answer)

    async def _receive_pack(self, request: web.BaseRequest, attempt_id: str) -> web.StreamResponse:
        limit = self._smart.pack_bytes + pushes.LONGEST_SECTION
        async with contextlib.aclosing(_body(request, limit)) as pieces:
            said = await self._smart.push(attempt_id, pieces)
        return _answer(said, "application/x-git-receive-pack-result")


def _password(request: web.BaseRequest) -> str:
    scheme, _, words = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(words, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _version(request: web.BaseRequest) -> str:
    version = request.headers.get("Git-Protocol", "")
    if version and not _PROTOCOL.fullmatch(version):
        raise InvalidInput("Git-Protocol is version=N")
    return version


async def _body(request: web.BaseRequest, limit: int) -> AsyncGenerator[bytes, None]:
    """The body in pieces, unpacked, at most `limit` bytes of it; never waits long for a client that says nothing."""
    coding = request.headers.get("Content-Encoding", "identity").lower()
    if coding not in {"identity", "gzip", "x-gzip"}:
        raise Unsupported("the only Content-Encoding is gzip")
    if (request.content_length or 0) > limit:
        raise TooLarge(f"the body is longer than {limit} bytes")
    await _invite(request)
    pieces = _pieces(request)
    plain = pieces if coding == "identity" else _unpacked(pieces)
    size = 0
    async for piece in plain:
        size += len(piece)
        if size > limit:
            raise TooLarge(f"the body is longer than {limit} bytes")
        yield piece


async def _invite(request: web.BaseRequest) -> None:
    """Says that the body may come, to who waits for that."""
    expected = request.headers.get("Expect", "").lower()
    if expected and expected != "100-continue":
        raise ExpectationFailed(f"nobody here meets {expected[:64]!r}")
    if expected:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # no part of the answer


class ExpectationFailed(InvalidInput):
    http_status = 417
    default_reason = "expectation_failed"


async def _pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    try:
        while True:
            async with asyncio.timeout(IDLE_S):
                piece = await request.content.read(_PIECE)
            if not piece:
                return
            yield piece
    except TimeoutError:
        raise Stalled(f"nothing came for {IDLE_S:.0f} s") from None
    except web.RequestPayloadError:
        raise InvalidInput("the body is cut off, or not chunked as it says") from None


class Stalled(DeadlineExceeded):
    http_status = 408


async def _unpacked(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """gzip, never more than a piece of it in memory."""
    stream = zlib.decompressobj(wbits=31)
    try:
        async for piece in pieces:
            rest = piece
            while rest and not stream.eof:
                yield stream.decompress(rest, _PIECE)
                rest = stream.unconsumed_tail
            if stream.unused_data:
                raise InvalidInput("something follows the gzip body")
    except zlib.error:
        raise InvalidInput("the body is not gzip") from None
    if not stream.eof:
        raise InvalidInput("the gzip body is cut off")


def _answer(body: bytes, kind: str) -> web.Response:
    return web.Response(body=body, content_type=kind, headers={"Cache-Control": "no-cache"})


async def _stream(
    request: web.BaseRequest, kind: str, first: bytes, pieces: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """Sends on what git says. A fault in the middle ends the connection, so that nobody takes a part for the whole."""
    response = web.StreamResponse(headers={"Content-Type": kind, "Cache-Control": "no-cache"})
    async with contextlib.aclosing(pieces):
        try:
            if first:
                await _send(request, response, first)
            async for piece in pieces:
                await _send(request, response, piece)
        except SwarmError:
            if not response.prepared or request.transport is None:
                raise
            request.transport.abort()
    return response


async def _send(request: web.BaseRequest, response: web.StreamResponse, piece: bytes) -> None:
    if not response.prepared:
        await response.prepare(request)
    await response.write(piece)
