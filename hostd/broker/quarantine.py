"""Where a pushed pack lies until it is known to be whole, sound and harmless. git runs on it with limits of its own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self

from hostd.broker.attempt import Attempt
from hostd.broker.scanner import ScanError, scan_apart
from hostd.git.command import GitError, child, complaint, git, read_tail, run
from hostd.git.refname import ZERO
from hostd.git.scan import Finding

BLOB_LIMIT = 100 << 20
PACKS_PER_ATTEMPT = 2
_LIMITED = ("prlimit", "--as=4294967296", "--cpu=600", "--core=0", "--")
_SMALL_WINDOWS = ("core.packedGitWindowSize=32m", "core.packedGitLimit=512m", "core.bigFileThreshold=16m")
_TIMEOUT_S = 600.0
_inspecting = asyncio.Semaphore(1)


class PushRefused(Exception):
    """The text is for the agent, which sees it on its git's output."""


class Quarantine:
    """A folder beside the repository's objects; `release` moves its packs there, leaving the block removes it."""

    def __init__(self, attempt: Attempt) -> None:
        assert attempt.terms.staging is not None
        self._attempt = attempt
        self._repository = attempt.terms.staging
        self._ref = attempt.terms.push_ref
        self._folder = Path()

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="quarantine-", dir=self._repository))
        (self._folder / "pack").mkdir(mode=0o750)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _env(self) -> dict[str, str]:
        return {
            "GIT_OBJECT_DIRECTORY": str(self._folder),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(self._repository / "objects"),
        }

    def _argv(self, *arguments: str) -> list[str]:
        return [*_LIMITED, *git(*arguments, config=_SMALL_WINDOWS)]

    async def _git(self, *arguments: str, data: bytes = b"") -> bytes:
        return await run(self._argv(*arguments), cwd=self._repository, env=self._env, data=data, timeout_s=_TIMEOUT_S)

    async def fill(self, pack: AsyncIterator[bytes]) -> None:
        """Take in the pack: sizes, deltas, hashes and the form of every object are checked by git. `PushRefused`."""
        limit = self._attempt.terms.limits.pack_bytes
        if self._attempt.received_bytes > PACKS_PER_ATTEMPT * limit:
            raise PushRefused("this attempt has pushed too much already")
        argv = self._argv("index-pack", "--stdin", "--fix-thin", "--strict", "--threads=1", f"--max-input-size={limit}")
        async with child(argv, cwd=self._repository, env=self._env, stdin=PIPE, stdout=DEVNULL, stderr=PIPE) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            errors = asyncio.create_task(read_tail(process.stderr))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                async for piece in pack:
                    self._attempt.received_bytes += len(piece)
                    process.stdin.write(piece)
                    await process.stdin.drain()
            process.stdin.close()
            status = await process.wait()
            said = complaint(await errors)
        if status != 0:
            raise PushRefused(f"the pack is not accepted: {said or 'it needs too much memory or time'}")

    async def inspect(self, old: str, new: str) -> list[Finding]:
        """Connectivity, fast-forward, sizes, then the scan of all that is new. `PushRefused`.

        One push at a time: what git lists and prints of it is held in memory.
        """
        async with _inspecting:
            return await self._inspect(old, new)

    async def _inspect(self, old: str, new: str) -> list[Finding]:
        try:
            if (await self._git("cat-file", "-t", new)).strip() != b"commit":
                raise PushRefused("a branch points to a commit")
            listed = await self._git("rev-list", "--objects", new, "--not", "--all")
            await self._check_sizes(listed)
        except GitError as error:
            raise PushRefused(f"the pack is not complete: {error}") from None
        if old != ZERO:
            await self._check_forward(old, new)
        try:
            return await self._scan(new)
        except (GitError, ScanError) as error:
            raise PushRefused(f"the changes cannot be scanned: {error}") from None

    async def _check_sizes(self, listed: bytes) -> None:
        output = await self._git("cat-file", "--batch-check=%(objectsize) %(rest)", data=listed)
        for line in output.splitlines():
            size, _, path = line.partition(b" ")
            if size.isdigit() and int(size) > BLOB_LIMIT:
                name = path.decode(errors="replace")
                raise PushRefused(f"{name}: {int(size) >> 20} MiB; a file may have {BLOB_LIMIT >> 20} MiB")

    async def _check_forward(self, old: str, new: str) -> None:
        try:
            await self._git("merge-base", "--is-ancestor", old, new)
        except GitError:
            raise PushRefused("not a fast-forward of what was pushed before") from None

    async def _scan(self, new: str) -> list[Finding]:
        """Every new commit by itself, because what a later one takes back stays in the history."""
        options = (
            "--patch",
            "--unified=0",
            "--text",
            "-c",
            "--no-renames",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
        )
        prefixes = ("--src-prefix=a/", "--dst-prefix=b/", "--format=commit %H")
        patch = await self._git("log", *options, *prefixes, new, "--not", "--all")
        return await scan_apart(patch)

    def release(self) -> None:
        """Move the packs into the repository; the index goes last, because it makes a pack visible."""
        target = self._repository / "objects" / "pack"
        for path in sorted((self._folder / "pack").iterdir(), key=lambda p: p.suffix == ".idx"):
            path.rename(target / path.name)

    async def set_ref(self, old: str, new: str) -> None:
        """Move the attempt's ref. `PushRefused` when it moved meanwhile."""
        try:
            await run(git("update-ref", self._ref, new, old), cwd=self._repository)
        except GitError as error:
            raise PushRefused(f"the branch has moved: {error}") from None
