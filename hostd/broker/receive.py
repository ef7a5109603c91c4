"""Pushes: our own receive-pack. A pack goes into quarantine, is checked and scanned there, and moves or vanishes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from hostd.broker.attempt import Attempt
from hostd.broker.connection import Connection
from hostd.broker.http1 import Head
from hostd.broker.quarantine import PushRefused, Quarantine
from hostd.broker.refs import accepted_head, known_commits
from hostd.broker.refusal import Refusal
from hostd.broker.wire import Kind
from hostd.git import pktline
from hostd.git.commands import CAPABILITIES, CommandError, Push, objection, parse
from hostd.git.refname import ZERO
from hostd.git.scan import Finding, refuses

COMMANDS_LIMIT = 64 << 10
UPSTREAM_TIMEOUT_S = 660.0
_KEEPALIVE_S = 5.0
_FINDINGS_SHOWN = 50
_KIND = "application/x-git-receive-pack-result"
_T = TypeVar("_T")


async def advertisement(attempt: Attempt) -> bytes:
    """The answer to info/refs: the attempt's ref if it exists, and the commits that need not be sent."""
    present = await accepted_head(attempt.terms)
    lines = [(present, attempt.terms.push_ref)] if present else []
    lines += [(commit, ".have") for commit in await known_commits(attempt.terms)]
    (first, name), *rest = lines or [(ZERO, "capabilities^{}")]
    body = pktline.encode(f"{first} {name}\0{CAPABILITIES}\n".encode())
    body += b"".join(pktline.encode(f"{commit} {ref}\n".encode()) for commit, ref in rest)
    return pktline.encode(b"# service=git-receive-pack\n") + pktline.FLUSH + body + pktline.FLUSH


async def receive_pack(attempt: Attempt, connection: Connection, head: Head) -> None:
    """One push, at most one at a time per attempt."""
    if attempt.terms.staging is None:
        raise Refusal(404, "the ticket has no repository")
    if (
        head.headers.get("content-type") != "application/x-git-receive-pack-request"
        or "content-encoding" in head.headers
    ):
        raise Refusal(415, "the body is application/x-git-receive-pack-request, plain")
    if attempt.finished:
        raise Refusal(409, "the attempt is finished")
    async with (
        attempt.receiving,
        contextlib.aclosing(connection.pieces(head, attempt.terms.limits.pack_bytes + COMMANDS_LIMIT)) as pieces,
    ):
        push, rest = await _read_commands(pieces)
        if not push.updates:  # git asks whether it may send before it sends much
            async for _ in pieces:
                pass
            await connection.reply(200, b"", kind=_KIND)
            return
        present = await accepted_head(attempt.terms)
        refusal = objection(push, attempt.terms.push_ref, present)
        if refusal:
            attempt.note(Refusal(403, refusal, rule="push", target=", ".join(u.ref for u in push.updates)[:200]))
            async for _ in pieces:  # git reads the answer only when it has sent everything
                pass
            await _report(connection, push, refusal)
            return
        await _take(attempt, connection, push, _chain(rest, pieces))


async def _read_commands(pieces: AsyncIterator[bytes]) -> tuple[Push, bytes]:
    buffer = b""
    try:
        async for piece in pieces:
            buffer += piece
            if section := pktline.take_section(buffer):
                lines, at = section
                return parse(lines), buffer[at:]
            if len(buffer) > COMMANDS_LIMIT:
                raise Refusal(413, "too many commands")
    except (pktline.PktError, CommandError) as error:
        raise Refusal(400, f"push: {error}") from None
    raise Refusal(400, "push: cut off before the pack")


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in rest:
        yield piece


async def _take(attempt: Attempt, connection: Connection, push: Push, pack: AsyncIterator[bytes]) -> None:
    """Check, scan, push upstream, then move the ref. The answer begins when the pack has come in whole."""
    (update,) = push.updates
    talk = _Talk(connection, sideband="side-band-64k" in push.capabilities)
    refusal = ""
    with Quarantine(attempt) as quarantine:
        try:
            await quarantine.fill(pack)
            await talk.start()
            findings = await talk.during(quarantine.inspect(update.old, update.new), "checking what was pushed")
            await _judge(attempt, talk, findings)
            quarantine.release()
            await talk.during(_push_upstream(attempt, update.new), "pushing to the upstream repository")
            await quarantine.set_ref(update.old, update.new)
            attempt.progressed()
        except PushRefused as error:
            refusal = str(error)
            async for _ in pack:
                pass
            await talk.start()
    await talk.finish(push, refusal)


async def _judge(attempt: Attempt, talk: _Talk, findings: list[Finding]) -> None:
    for finding in findings[:_FINDINGS_SHOWN]:
        await talk.say(str(finding))
    critical = [finding for finding in findings if refuses(finding)]
    if critical:
        first = critical[0]
        raise PushRefused(f"{len(critical)} critical finding(s), first: {first.path}:{first.line} {first.rule}")
    lines = "\n".join(str(finding) for finding in findings[:_FINDINGS_SHOWN])
    attempt.tell(Kind.FINDINGS, lines.encode(errors="replace"))


async def _push_upstream(attempt: Attempt, head: str) -> None:
    waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    attempt.pushes[head] = waiting
    attempt.tell(Kind.PUSH, head.encode())
    try:
        async with asyncio.timeout(UPSTREAM_TIMEOUT_S):
            taken = await waiting
    except TimeoutError:
        taken = False
    finally:
        attempt.pushes.pop(head, None)
    if not taken:
        raise PushRefused("the upstream repository did not take the branch")


async def _report(connection: Connection, push: Push, refusal: str) -> None:
    talk = _Talk(connection, sideband="side-band-64k" in push.capabilities)
    await talk.start()
    await talk.finish(push, refusal)


class _Talk:
    """The answer to a push, as its client understands it: progress beside the report where it can take that."""

    def __init__(self, connection: Connection, *, sideband: bool) -> None:
        self._connection = connection
        self._sideband = sideband
        self._started = False

    async def start(self) -> None:
        """Idempotent."""
        if not self._started:
            self._started = True
            await self._connection.start(_KIND)

    async def say(self, text: str) -> None:
        """A line that git shows after "remote:"."""
        if self._sideband:
            await self._connection.send(pktline.sideband(2, text.encode(errors="replace") + b"\n"))

    async def during(self, work: Coroutine[Any, Any, _T], text: str) -> _T:
        """Do it; a line now and then tells the client that it is still being done."""
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait([task], timeout=_KEEPALIVE_S))[0]:
                await self.say(f"{text} ...")
            return await task
        finally:
            task.cancel()

    async def finish(self, push: Push, refusal: str) -> None:
        """Report each ref."""
        if refusal:
            await self.say(f"refused: {refusal}")
        report = pktline.encode(b"unpack ok\n")
        for update in push.updates:
            word = f"ng {update.ref} {refusal}\n" if refusal else f"ok {update.ref}\n"
            report += pktline.encode(word.encode(errors="replace"))
        report += pktline.FLUSH
        await self._connection.send(pktline.sideband(1, report) + pktline.FLUSH if self._sideband else report)
        await self._connection.finish()
