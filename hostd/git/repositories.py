"""Git on the host, as the runner sees it: prepare a checkout, push what was accepted, forget an attempt."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from hostd.errors import ConfigError, MirrorError, PushFailedError, RepositoryRefusedError
from hostd.git import address, staging, upkeep
from hostd.git.base import Base, make_base
from hostd.git.blame import blamed
from hostd.git.command import GitError, User, run
from hostd.git.courier import Courier
from hostd.git.mirror import Mirror, Mirrors
from hostd.git.refname import check_branch, check_object, check_ref
from hostd.ports import Checkout, CleanupCounts, Dependency

BASE_REF = "refs/swarm/base"
MERGE_REF = "refs/swarm/merge/"


class GitRepositories:
    """Below `root`: ``mirrors`` (each owned by the courier), ``staging`` (by the broker), ``courier`` (credentials)."""

    def __init__(
        self,
        root: Path,
        *,
        uid: int,
        gid: int,
        broker_uid: int,
        credentials: Path | None = None,
        ssh_key: Path | None = None,
        allow_file: bool = True,
        budget_mib: int = 0,
    ) -> None:
        """`budget_mib` bounds what the mirrors may take; 0: nothing does."""
        self._root = root.absolute()
        self._user = User(uid, gid)
        self._broker = User(broker_uid, gid)
        self._allow_file = allow_file
        self._budget_mib = budget_mib
        self._courier = Courier(self._root / "courier", self._user, credentials=credentials, ssh_key=ssh_key)
        self._mirrors = Mirrors(self._root / "mirrors", self._courier, self._user)
        self._of_attempt: dict[str, Mirror] = {}

    async def open(self, keep: Collection[str] = ()) -> None:
        """Make the folders, drop staging repositories of attempts not in `keep`. `ConfigError`, `UpstreamError`."""
        for folder in (self._root, self._root / "mirrors", self._root / "staging"):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o711)
            if os.geteuid() == 0:  # below them root makes folders and gives them away: nobody else may put names there
                os.chown(folder, 0, 0)
        self._courier.open()
        for path in (self._root / "staging").iterdir():
            if path.name.removesuffix(".git") not in keep:
                staging.remove(path)
        try:
            await run([*self._broker.prefix(), "test", "-x", str(self._root / "staging")])
        except GitError:
            raise ConfigError(
                [f"{self._root} cannot be reached by unprivileged users; choose a --state-dir with open parent folders"]
            ) from None

    async def prepare(
        self, attempt_id: str, url: str, default_branch: str, dependencies: Sequence[Dependency], continue_from: str
    ) -> Checkout:
        """Fetch the mirror, make the base and the staging repository. See `hostd.git.blame` for what is raised.

        An empty `default_branch` is the upstream's own.
        """
        mirror = self._mirrors.of(address.parse(url, allow_file=self._allow_file))
        for dependency in dependencies:
            check_object(dependency.head)
        await mirror.refresh()
        default_branch = default_branch or await mirror.default_branch()
        check_branch(default_branch)
        try:
            base = await make_base(mirror, default_branch, dependencies, continue_from)
            if not base.commit:
                await mirror.expect_empty()
            refs = await _visible(mirror, default_branch, base)
        except GitError as error:
            raise MirrorError(f"cannot prepare {url}: {error}") from error
        path = self._staging(attempt_id)
        staging.create(path, mirror.path, refs, default_branch, owner=self._broker, partial=mirror.is_large())
        self._of_attempt[attempt_id] = mirror
        return Checkout(base.commit, path, default_branch, base.conflicts, base.merge_heads)

    async def adopt(self, attempt_id: str, url: str) -> None:
        """Know again where an attempt of an earlier process pushes to. `RepositoryRefusedError`."""
        self._of_attempt[attempt_id] = self._mirrors.of(address.parse(url, allow_file=self._allow_file))

    async def push(self, attempt_id: str, head: str, ref: str, *, replace: bool = False) -> None:
        """Create `ref` at the upstream, or fast-forward it (with `replace`: set it). The same head again is fine.

        See `hostd.git.blame` for what is raised; its text may quote the upstream, and is not for the guest.
        """
        mirror = self._of_attempt.get(attempt_id)
        if mirror is None:
            raise MirrorError(f"no repository was prepared for {attempt_id}")
        check_object(head)
        check_ref(ref)
        objects = self._staging(attempt_id) / "objects"
        try:
            await self._courier.push(mirror.path, mirror.address, head, ref, expected="", objects=objects)
        except GitError as refusal:
            await self._advance(mirror, head, ref, objects, replace=replace, refusal=refusal)

    async def _advance(
        self, mirror: Mirror, head: str, ref: str, objects: Path, *, replace: bool, refusal: GitError
    ) -> None:
        """The ref is there already: it may be ours from before."""
        try:
            present = await self._courier.look_up(mirror.path, mirror.address, ref)
            if present == head:
                return
            if not present:
                raise refusal
            if not replace:
                await _descends(mirror, present, head, ref, objects)
            await self._courier.push(mirror.path, mirror.address, head, ref, expected=present, objects=objects)
        except GitError as error:
            raise blamed(f"cannot push {ref} to {mirror.address.url}", error) from error

    async def discard(self, attempt_id: str) -> None:
        """Remove the staging repository. Idempotent."""
        self._of_attempt.pop(attempt_id, None)
        staging.remove(self._staging(attempt_id))

    async def cleanup(self, keep: Collection[str]) -> CleanupCounts:
        """See `hostd.ports.Repositories`."""
        kept = {*keep, *self._of_attempt}
        stale = [path for path in (self._root / "staging").glob("*.git") if path.name.removesuffix(".git") not in kept]
        for path in stale:
            await asyncio.to_thread(staging.remove, path)
        counts = await upkeep.evict(self._root / "mirrors", self._in_use(), self._budget_mib)
        details = tuple(f"removed the staging repository of {path.stem}" for path in stale)
        return CleanupCounts(files=len(stale), details=details) + counts

    async def pack(self) -> tuple[str, ...]:
        """See `hostd.ports.Repositories`."""
        return await upkeep.pack(self._root / "mirrors", self._in_use(), self._user)

    def _in_use(self) -> set[Path]:
        """Mirrors of live attempts, and those that are being fetched for attempts to come."""
        return {mirror.path for mirror in self._of_attempt.values()} | self._mirrors.busy()

    def _staging(self, attempt_id: str) -> Path:
        if not attempt_id or "/" in attempt_id or attempt_id.startswith("."):
            raise RepositoryRefusedError(f"{attempt_id!r} is not an attempt id")
        return self._root / "staging" / f"{attempt_id}.git"


async def _descends(mirror: Mirror, present: str, head: str, ref: str, objects: Path) -> None:
    """`PushFailedError` when the ref holds work that `head` does not contain."""
    try:
        env = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": str(objects)}
        await mirror.git("merge-base", "--is-ancestor", present, head, env=env)
    except GitError as error:
        raise PushFailedError(f"{ref} holds other work at {mirror.address.url} already") from error


async def _visible(mirror: Mirror, default_branch: str, base: Base) -> dict[str, tuple[str, str]]:
    """Refs for the guest: the default branch, all tags, the base and what is to be merged into it."""
    refs = await mirror.refs(f"refs/heads/{default_branch}", "refs/tags/")
    if base.commit:
        refs[BASE_REF] = (base.commit, "")
    return refs | {f"{MERGE_REF}{number}": (head, "") for number, head in enumerate(base.merge_heads)}
