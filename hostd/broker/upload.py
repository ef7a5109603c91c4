"""Clones and fetches: smart HTTP in front of git's own upload-pack."""

from __future__ import annotations

import asyncio
import contextlib
import re
import zlib
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

from hostd.broker.attempt import Attempt
from hostd.broker.connection import Connection
from hostd.broker.http1 import Head
from hostd.broker.receive import advertisement
from hostd.broker.refusal import Refusal
from hostd.git import pktline
from hostd.git.command import child, git

REQUEST_LIMIT = 4 << 20
_PIECE = 1 << 16
_PROTOCOL = re.compile(r"version=[012]")
_LIMITED = ("prlimit", "--as=6442450944", "--cpu=1800", "--core=0", "--")


async def info_refs(attempt: Attempt, connection: Connection, head: Head) -> None:
    """First request of each git command."""
    staging = _staging(attempt)
    service = head.query.get("service", "")
    if service == "git-receive-pack":
        body = await advertisement(attempt)
        await connection.reply(200, body, kind="application/x-git-receive-pack-advertisement")
        return
    if service != "git-upload-pack":
        raise Refusal(403, "this server is smart only", rule="git", target=f"service {service}")
    env = _protocol(head)
    await connection.start("application/x-git-upload-pack-advertisement")
    if env.get("GIT_PROTOCOL") != "version=2":
        await connection.send(pktline.encode(b"# service=git-upload-pack\n") + pktline.FLUSH)
    await _relay(attempt, connection, _argv(staging, "--advertise-refs"), env)


async def upload_pack(attempt: Attempt, connection: Connection, head: Head) -> None:
    """One round of a clone or a fetch."""
    staging = _staging(attempt)
    if head.headers.get("content-type") != "application/x-git-upload-pack-request":
        raise Refusal(415, "the body is application/x-git-upload-pack-request")
    body = _inflate(await connection.read_body(head, REQUEST_LIMIT), head.headers.get("content-encoding", ""))
    env = _protocol(head)
    await connection.start("application/x-git-upload-pack-result")
    await _relay(attempt, connection, _argv(staging), env, body)


def _staging(attempt: Attempt) -> Path:
    if attempt.terms.staging is None:
        raise Refusal(404, "the ticket has no repository")
    return attempt.terms.staging


def _protocol(head: Head) -> dict[str, str]:
    version = head.headers.get("git-protocol", "")
    if version and not _PROTOCOL.fullmatch(version):
        raise Refusal(400, "Git-Protocol is version=N")
    return {"GIT_PROTOCOL": version} if version else {}


def _inflate(body: bytes, coding: str) -> bytes:
    if not coding:
        return body
    if coding not in ("gzip", "x-gzip"):
        raise Refusal(415, "the only Content-Encoding is gzip")
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(body, REQUEST_LIMIT)
    except zlib.error:
        raise Refusal(400, "the body is not gzip") from None
    if stream.unconsumed_tail or not stream.eof or stream.unused_data:
        raise Refusal(413, f"the body is longer than {REQUEST_LIMIT} bytes or cut off")
    return plain


def _argv(staging: Path, *options: str) -> list[str]:
    return [*_LIMITED, *git("upload-pack", "--stateless-rpc", "--strict", "--timeout=600", *options, str(staging))]


async def _relay(
    attempt: Attempt, connection: Connection, argv: list[str], env: dict[str, str], body: bytes = b""
) -> None:
    """Send on what git answers to `body`."""
    async with attempt.git, child(argv, env=env, stdin=PIPE, stderr=DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        feeding = asyncio.create_task(_feed(process.stdin, body))
        try:
            while piece := await process.stdout.read(_PIECE):
                await connection.send(piece)
            if await process.wait() == 0:
                await connection.finish()
            else:
                connection.abort()  # an end without the last chunk: the client sees that it was cut off
        finally:
            feeding.cancel()


async def _feed(stream: asyncio.StreamWriter, body: bytes) -> None:
    with contextlib.suppress(OSError):
        stream.write(body)
        await stream.drain()
        stream.close()
