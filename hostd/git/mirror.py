"""Bare mirrors of upstream repositories, shared by all attempts that start from the same URL."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

from hostd import caches
from hostd.errors import RepositoryRefusedError
from hostd.git.address import Address
from hostd.git.blame import blamed
from hostd.git.command import GitError, User, git, run
from hostd.git.courier import Courier

REFSPECS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
PARTIAL_FROM_BYTES = 256 << 20


class Mirror:
    """One bare repository, owned by the courier's user and readable for its group."""

    def __init__(self, path: Path, address: Address, courier: Courier, user: User) -> None:
        self.path = path
        self.address = address
        self._courier = courier
        self._user = user
        self._lock = asyncio.Lock()
        self._fetched = 0.0

    async def refresh(self) -> None:
        """Fetch; callers that wait while a fetch runs share the next one. See `hostd.git.blame` for what is raised."""
        asked = asyncio.get_running_loop().time()
        async with self._lock:
            if self._fetched > asked:
                return
            started = asyncio.get_running_loop().time()
            caches.touch(self.path)  # before anybody may think that it is out of use
            try:
                await self._create()
                await self._courier.fetch(self.path, self.address, REFSPECS)
            except GitError as error:
                raise blamed(f"cannot fetch {self.address.url}", error) from error
            self._fetched = started

    @property
    def busy(self) -> bool:
        """Whether it is being fetched."""
        return self._lock.locked()

    async def default_branch(self) -> str:
        """The upstream's own default branch; `main` where it has no commit yet."""
        return await self._head_branch() or "main"

    async def _head_branch(self) -> str:
        try:
            return await self._courier.head_branch(self.path, self.address)
        except GitError as error:
            raise blamed(f"cannot read {self.address.url}", error) from error

    async def expect_empty(self) -> None:
        """`RepositoryRefusedError` when the upstream has commits although nothing of it could be fetched."""
        if await self._head_branch():
            hint = "is it a shallow clone? complete it with: git fetch --unshallow"
            raise RepositoryRefusedError(f"{self.address.url} has branches that cannot be mirrored; {hint}")

    async def _create(self) -> None:
        if (self.path / "HEAD").exists():
            return
        self.path.mkdir(mode=0o750, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(self.path, self._user.uid, self._user.gid, follow_symlinks=False)
        await self.git("init", "--quiet", "--bare", "--template=", "--shared=0640", "--initial-branch=main", ".")

    async def git(self, *arguments: str, env: dict[str, str] | None = None, data: bytes = b"") -> bytes:
        """Run git in the mirror as its owner. `GitError`."""
        return await run([*self._user.prefix(), *git(*arguments)], cwd=self.path, env=env, data=data, timeout_s=300)

    async def refs(self, *patterns: str) -> dict[str, tuple[str, str]]:
        """Object id by ref, and beside it the id that an annotated tag stands for, or an empty string."""
        output = await self.git("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)", *patterns)
        rows = (line.split(" ") for line in output.decode().splitlines())
        return {row[0]: (row[1], row[2]) for row in rows}

    def is_large(self) -> bool:
        """Whether a guest should fetch file contents only when it needs them."""
        packs = (self.path / "objects" / "pack").glob("*.pack")
        return sum(pack.stat().st_size for pack in packs) > PARTIAL_FROM_BYTES


class Mirrors:
    """All mirrors below one folder, one object per URL."""

    def __init__(self, folder: Path, courier: Courier, user: User) -> None:
        self._folder = folder
        self._courier = courier
        self._user = user
        self._known: dict[str, Mirror] = {}

    def of(self, address: Address) -> Mirror:
        """The mirror of an upstream, which may not exist on disk yet."""
        name = hashlib.sha256(address.url.encode()).hexdigest()[:16]
        if name not in self._known:
            self._known[name] = Mirror(self._folder / f"{name}.git", address, self._courier, self._user)
        return self._known[name]

    def busy(self) -> set[Path]:
        """Those that are being fetched, for attempts that are not known yet."""
        return {mirror.path for mirror in self._known.values() if mirror.busy}
