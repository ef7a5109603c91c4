"""git's smart protocol in front of a claim's repository, without HTTP: bodies in, bodies out, git between."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from controlplane.errors import InvalidInput, Unavailable
from controlplane.forge import pushes
from controlplane.forge.git import Git
from controlplane.forge.workspaces import GitWorkspaces

AT_ONCE: Final = 16
PUSHED_AT_MOST: Final = 2  # times the largest pack, in all pushes of one claim
ANSWER_LIMIT: Final = 1 << 20
_PIECE: Final = 1 << 16
_LIMITED: Final = ("prlimit", "--as=6442450944", "--cpu=1800", "--core=0", "--")


@dataclass(frozen=True, slots=True)
class SmartHttp:
    """`pack_bytes` is the largest push that is taken."""

    workspaces: GitWorkspaces
    pack_bytes: int
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def advertise_push(self, attempt_id: str) -> bytes:
        """First answer of a push."""
        return pushes.advertisement(self.workspaces.note(attempt_id).ref, await self.workspaces.head(attempt_id))

    async def push(self, attempt_id: str, body: AsyncIterator[bytes]) -> bytes:
        """One push, at most one at a time per claim: its commands are judged before git sees them or the pack."""
        async with self.workspaces.lock(attempt_id):
            push, begun = await _commands(body)
            if not push.updates:  # git asks whether it may send, before it sends much
                await _drain(body)
                return b""
            allowed, present = self.workspaces.note(attempt_id).ref, await self.workspaces.head(attempt_id)
            git = await self.workspaces.git(attempt_id)
            why = pushes.objection(push, allowed, present)
            if not why and await asyncio.to_thread(_size, git) > PUSHED_AT_MOST * self.pack_bytes:
                why = "too much was pushed already"
            if why:
                await _drain(body)  # git reads the answer only when it has sent everything
                return pushes.refusal(push, why)
            arguments = ("-c", f"receive.maxInputSize={self.pack_bytes}", "receive-pack", "--stateless-rpc")
            async with self._places, _serving(git, arguments) as process:
                return await _exchange(process, begun, body)

    async def fetch(
        self, attempt_id: str, body: bytes, *, version: str, advertise: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """One round of a clone or a fetch. Unavailable when git ends in the middle."""
        git = await self.workspaces.git(attempt_id)
        options = ("--advertise-refs",) if advertise else ()
        arguments = ("upload-pack", "--stateless-rpc", "--strict", "--timeout=600", *options)
        async with self._places, _serving(git, arguments, version) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            feeding = asyncio.create_task(_feed(process.stdin, body))
            try:
                while piece := await process.stdout.read(_PIECE):
                    yield piece
                if await process.wait():
                    raise Unavailable("git ended in the middle of its answer", reason="git_failed")
            finally:
                feeding.cancel()


async def _commands(body: AsyncIterator[bytes]) -> tuple[pushes.Push, bytes]:
    """What is pushed, and all that was read to know it."""
    begun = b""
    try:
        async for piece in body:
            begun += piece
            if push := pushes.parse(begun):
                return push, begun
    except pushes.PushError as error:
        raise InvalidInput(f"push: {error}", reason="bad_push") from None
    raise InvalidInput("push: cut off before the pack", reason="bad_push")


async def _drain(body: AsyncIterator[bytes]) -> None:
    async for _ in body:
        pass


async def _exchange(process: Process, begun: bytes, body: AsyncIterator[bytes]) -> bytes:
    """Git's report. What it says is little; it is read while the pack is still coming in."""
    assert process.stdin is not None
    assert process.stdout is not None
    answer = asyncio.create_task(_read(process.stdout))
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(begun)
            async for piece in body:
                process.stdin.write(piece)
                await process.stdin.drain()
            process.stdin.close()
        await _drain(body)
        said = await answer
    finally:
        answer.cancel()
    if not said:
        raise InvalidInput("the pack is not accepted", reason="bad_push")
    return said


async def _read(stream: asyncio.StreamReader) -> bytes:
    """All of it, of which the first ANSWER_LIMIT bytes are kept."""
    said = b""
    while piece := await stream.read(_PIECE):
        said = (said + piece)[:ANSWER_LIMIT]
    return said


async def _feed(stream: asyncio.StreamWriter, body: bytes) -> None:
    with contextlib.suppress(OSError):
        stream.write(body)
        await stream.drain()
        stream.close()


@contextlib.asynccontextmanager
async def _serving(git: Git, arguments: Sequence[str], version: str = "") -> AsyncIterator[Process]:
    """A git service on the repository, dead with all it started when the block is left."""
    protocol = {"GIT_PROTOCOL": version} if version else {}
    process = await asyncio.create_subprocess_exec(
        *_LIMITED,
        *git.argv((*arguments, str(git.directory))),
        env={**git.environment(), **protocol},
        stdin=PIPE,
        stdout=PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdin is not None:
            process.stdin.close()
        await asyncio.shield(process.communicate())  # to the end of its pipes, which stay open otherwise


def _size(git: Git) -> int:
    """Bytes of all packs that were pushed. Those that it began with are marked to be kept."""
    packs = (git.directory / "objects" / "pack").glob("*.pack")
    return sum(path.stat().st_size for path in packs if not path.with_suffix(".keep").exists())
