"""What a guest may ask for. Everything else is refused and reported."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable

from hostd.broker.attempt import Attempt
from hostd.broker.connection import Connection
from hostd.broker.events import post_events, post_result
from hostd.broker.http1 import Head
from hostd.broker.receive import receive_pack
from hostd.broker.refusal import Refusal
from hostd.broker.upload import info_refs, upload_pack
from hostd.git.staging import PARTIAL_MARK

_log = logging.getLogger(__name__)

Handler = Callable[[Attempt, Connection, Head], Awaitable[None]]

ENTROPY_BYTES = 64
ANSWER_WAIT_S = 25.0
ARTIFACTS = 1000  # also empty ones take room on the host
_ARTIFACTS = "/v1/artifacts/"
_ARTIFACT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NUMBER = re.compile(r"[1-9][0-9]{0,3}")
_PIECE = 1 << 18


async def get_work(attempt: Attempt, connection: Connection, _head: Head) -> None:
    """The work, with what makes this clone unlike its siblings; each answer has its own."""
    work = dict(attempt.terms.work)
    if not work:
        await connection.reply(204)
        return
    work["entropy"] = base64.b64encode(secrets.token_bytes(ENTROPY_BYTES)).decode()
    work["time_ns"] = str(time.time_ns())
    if attempt.terms.staging is not None and (attempt.terms.staging / PARTIAL_MARK).exists():
        work["checkout"] = {**work.get("checkout", {}), "partial": True}
    await connection.reply_json(work)


async def post_pong(_attempt: Attempt, connection: Connection, _head: Head) -> None:
    """The answer to a ping. That it came is all it says."""
    await connection.reply(204)


async def get_agent(attempt: Attempt, connection: Connection, _head: Head) -> None:
    """The agent's bundle, a tar."""
    if attempt.bundle < 0:
        raise Refusal(404, "no agent")
    await connection.start("application/x-tar")
    at = 0
    while piece := os.pread(attempt.bundle, _PIECE, at):
        await connection.send(piece)
        at += len(piece)
    await connection.finish()


async def get_answer(attempt: Attempt, connection: Connection, head: Head) -> None:
    """The answer to question `number`, counted from 1; 204 when there is none yet, after a while."""
    number = head.query.get("number", "1")
    if not _NUMBER.fullmatch(number):
        raise Refusal(400, "number counts questions from 1")
    text = await attempt.answers.wait(int(number), ANSWER_WAIT_S)
    if text is None:
        await connection.reply(204)
    else:
        await connection.reply_json({"text": text})


async def put_artifact(attempt: Attempt, connection: Connection, head: Head) -> None:
    """A file for people to look at, replaced when it is sent again."""
    name, limits, folder = head.path.removeprefix(_ARTIFACTS), attempt.terms.limits, attempt.terms.artifacts
    if not _ARTIFACT_NAME.fullmatch(name):
        raise Refusal(403, "artifacts have flat, plain names", rule="artifact", target=name[:100])
    if folder is None:
        raise Refusal(403, "no artifacts are kept", rule="artifact", target=name)
    left = limits.artifacts_bytes - attempt.artifact_bytes
    if attempt.artifact_files >= ARTIFACTS:
        raise Refusal(413, f"more than {ARTIFACTS} artifacts")
    attempt.artifact_files += 1
    temporary = folder / f".{secrets.token_hex(8)}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    try:
        async for piece in connection.pieces(head, min(limits.artifact_bytes, left)):
            attempt.artifact_bytes += len(piece)
            os.write(fd, piece)
        temporary.rename(folder / name)
    finally:
        os.close(fd)
        temporary.unlink(missing_ok=True)
    await connection.reply_json({})


ROUTES: dict[str, dict[str, Handler]] = {
    "/v1/work": {"GET": get_work},
    "/v1/pong": {"POST": post_pong},
    "/v1/agent": {"GET": get_agent},
    "/v1/events": {"POST": post_events},
    "/v1/result": {"POST": post_result},
    "/v1/answer": {"GET": get_answer},
    "/git/repo.git/info/refs": {"GET": info_refs},
    "/git/repo.git/git-upload-pack": {"POST": upload_pack},
    "/git/repo.git/git-receive-pack": {"POST": receive_pack},
}


def find(head: Head) -> Handler:
    """The handler of a request, or a refusal that is reported."""
    methods = ROUTES.get(head.path)
    if head.path.startswith(_ARTIFACTS):
        methods = {"PUT": put_artifact}
    target = f"{head.method} {head.path}"[:200]
    if methods is None:
        if head.path.startswith("/git/"):
            raise Refusal(403, "the one repository here is /git/repo.git", rule="git", target=target)
        raise Refusal(404, "no such route", rule="route", target=target)
    if head.method not in methods:
        raise Refusal(405, f"allowed: {', '.join(methods)}", rule="method", target=target)
    return methods[head.method]


async def serve(attempt: Attempt, connection: Connection) -> None:
    """Answer the requests of one connection until it ends."""
    try:
        while await _serve_one(attempt, connection):
            pass
        await connection.close()
    except (ConnectionError, asyncio.IncompleteReadError):
        connection.abort()
    except Exception:  # noqa: BLE001 - a mistake of ours ends one connection, not the broker
        _log.exception("a connection of %s ended in an error of the broker", attempt.terms.attempt_id)
        connection.abort()


async def _handle(attempt: Attempt, connection: Connection, head: Head) -> None:
    attempt.admit_request()
    try:
        await find(head)(attempt, connection, head)
    except (ConnectionError, asyncio.IncompleteReadError):
        raise
    except OSError as error:  # of this host, such as a full disk: not the guest's doing
        _log.error("%s for %s: %s", head.path, attempt.terms.attempt_id, error)
        raise Refusal(503, "the host cannot do this now", close=True) from error


async def _serve_one(attempt: Attempt, connection: Connection) -> bool:
    """Whether the connection can go on."""
    head: Head | None = None
    try:
        head = await connection.read_head()
        if head is None:
            return False
        attempt.saw_life()
        attempt.saw_first_byte(connection.first_byte_ns)
        await _handle(attempt, connection, head)
    except Refusal as refusal:
        attempt.note(refusal)
        if connection.answered:
            connection.abort()
            return False
        last = refusal.close or head is None or not head.keeps_alive or connection.body_left
        body = {"code": refusal.code, "message": refusal.message}
        await connection.reply_json(body, status=refusal.status, last=last)
        return not last
    return head.keeps_alive and not connection.body_left
