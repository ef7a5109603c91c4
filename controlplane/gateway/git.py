"""Smart HTTP for claims: GET /git/CLAIM/info/refs, POST /git/CLAIM/git-upload-pack and /git/CLAIM/git-receive-pack."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from aiohttp import web

from controlplane.accounts.claims import ClaimSecrets
from controlplane.errors import Forbidden, InvalidInput, MethodNotAllowed, NotFound, SwarmError, Unauthenticated
from controlplane.forge import pushes
from controlplane.forge.smarthttp import SmartHttp
from controlplane.gateway import body
from controlplane.gateway.faults import Unsupported

USER: Final = "swarm"
FETCH_LIMIT: Final = 4 << 20
SERVICES: Final = ("git-upload-pack", "git-receive-pack")
_PROTOCOL: Final = re.compile(r"version=[012]")

# Raises Unauthenticated unless the claim stands.
Admit = Callable[[str], Awaitable[object]]


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
        """Errors are plain text, which git shows its user."""
        try:
            return await self._serve(request)
        except SwarmError as error:
            headers = {"WWW-Authenticate": 'Basic realm="swarm"'} if isinstance(error, Unauthenticated) else {}
            return web.Response(status=error.http_status, text=f"{error.message}\n", headers=headers)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        _, _, attempt_id, *rest = [*request.path.split("/"), ""]
        what = "/".join(rest).removesuffix("/")
        if what not in {"info/refs", *SERVICES}:
            raise NotFound("git finds here info/refs, git-upload-pack and git-receive-pack of a claim")
        verb = "GET" if what == "info/refs" else "POST"
        if request.method != verb:
            raise MethodNotAllowed(f"{what} is not for {request.method[:16]}", allow=(verb,))
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
        version = _version(request)
        answer = self._smart.fetch(attempt_id, await body.whole(request, FETCH_LIMIT), version=version)
        return await _stream(request, "application/x-git-upload-pack-result", b"", answer)

    async def _receive_pack(self, request: web.BaseRequest, attempt_id: str) -> web.StreamResponse:
        limit = self._smart.pack_bytes + pushes.LONGEST_SECTION
        async with contextlib.aclosing(body.pieces(request, limit)) as pieces:
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


def _answer(said: bytes, kind: str) -> web.Response:
    return web.Response(body=said, content_type=kind, headers={"Cache-Control": "no-cache"})


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
