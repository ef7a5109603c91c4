"""The control plane's own bare copies of upstream repositories, one per URL."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from controlplane.errors import FailedPrecondition, InvalidInput, Unavailable
from controlplane.forge.git import Account, Credentials, Git, last_line

_DECIDING: Final = ("HEAD", "config", "hooks", "info", "objects", "refs", ".git")


@dataclass(slots=True)
class Mirrors:
    """`root` holds the copies. Each belongs to whom its upstream belongs, so that git needs no privilege on either."""

    root: Path
    credentials: Credentials = field(default_factory=Credentials)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def fetch(self, repository: str) -> Git:
        """Brings the copy up to date and answers git on it. InvalidInput when there is no such repository."""
        async with self._locks.setdefault(repository, asyncio.Lock()):
            git = await self.opened(repository)
            fetch = ("fetch", "--prune", "--quiet", "--", repository, "+refs/heads/*:refs/heads/*")
            output = await git.run(*fetch, check=False)
            if output.code:
                raise Unavailable(f"cannot read {repository}: {last_line(output.stderr)}", reason="upstream_failed")
            return git

    async def push(self, git: Git, repository: str, commit: str, ref: str, expected: str) -> None:
        """Moves one upstream ref from `expected` (empty: none yet) to `commit`, or fails without touching it."""
        lease = f"--force-with-lease={ref}:{expected}"
        output = await git.run("push", "--quiet", lease, "--", repository, f"{commit}:{ref}", check=False)
        if output.code:
            raise _refused(repository, ref, output.stderr)

    async def look_up(self, repository: str, ref: str) -> str:
        """Commit of an upstream ref; empty: there is none of this name."""
        git = await self.opened(repository)
        listed = await git.text("ls-remote", "--refs", "--", repository, ref)
        return listed.split("\t")[0] if listed else ""

    async def default_branch(self, repository: str) -> str:
        """Branch that the upstream's HEAD names."""
        git = await self.opened(repository)
        output = await git.run("ls-remote", "--symref", "--", repository, "HEAD", check=False)
        if output.code:
            raise InvalidInput(f"cannot read {repository}: {last_line(output.stderr)}", reason="repository_unreadable")
        for line in output.stdout.decode(errors="replace").splitlines():
            if line.startswith("ref: refs/heads/"):
                return line.removeprefix("ref: refs/heads/").split("\t")[0]
        raise InvalidInput(f"{repository} has no commit on its default branch yet", reason="repository_empty")

    async def opened(self, repository: str) -> Git:
        """Git on the copy as it is, made empty when there is none."""
        path = self.root / f"{hashlib.sha256(repository.encode()).hexdigest()[:16]}.git"
        git = Git(path, self._account(repository), self.credentials)
        if not (path / "HEAD").exists():
            self._make(path, git.account)
            await git.run("init", "--bare", "--quiet", "--template=", str(path))
        return git

    def _account(self, repository: str) -> Account:
        if os.geteuid() != 0:
            return Account()
        path = local_path(repository)
        if path is None:
            return Account()  # ours, without its capabilities: the credentials are files of this account
        return owner_of(path)

    def _make(self, path: Path, account: Account) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if account.uid is not None and account.gid is not None:
            os.chown(path, account.uid, account.gid)
            # The account has to walk to its copy; it may list nothing on the way.
            for parent in (self.root, self.root.parent):
                parent.chmod(parent.stat().st_mode | 0o011)


def owner_of(path: Path) -> Account:
    """Owner of a local repository. InvalidInput when somebody else's files decide what git does in it.

    A folder such as /tmp belongs to root, what is in it to anybody: git would run for root what others wrote there.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}", reason="repository_unreadable") from None
    places = (path / ".git", path, path.with_name(f"{path.name}.git"))
    folder = next((place for place in places if (place / "HEAD").exists()), path)
    for deciding in (folder, *(folder / name for name in _DECIDING)):
        with suppress(OSError):  # what is not there decides nothing
            if deciding.lstat().st_uid not in {facts.st_uid, 0}:
                fault = f"{path}: {deciding.name} belongs to another user than the folder"
                raise InvalidInput(fault, reason="repository_unreadable")
    return Account(facts.st_uid, facts.st_gid)


def local_path(repository: str) -> Path | None:
    """Path of a repository on this machine, None for one behind a network URL."""
    if repository.startswith("/"):
        return Path(repository)
    parts = urlsplit(repository)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _refused(repository: str, ref: str, stderr: str) -> FailedPrecondition | Unavailable:
    branch = ref.removeprefix("refs/heads/")
    if "stale info" in stderr or "fetch first" in stderr:
        return FailedPrecondition(f"{branch} of {repository} moved meanwhile; try again", reason="ref_moved")
    if "checked out" in stderr:
        hint = "use a bare repository, or check another branch out there"
        return FailedPrecondition(f"{branch} is checked out in {repository}: {hint}", reason="branch_checked_out")
    return Unavailable(f"cannot push {branch} to {repository}: {last_line(stderr)}", reason="upstream_failed")
