"""Talks to upstream repositories. Only here are credentials used, by a child that has a user of its own.

A repository on this disk is read and written by a git process of its owner; the courier is connected to that by a
socket, so neither needs a right that the other has.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from hostd.errors import UpstreamError
from hostd.git.address import Address
from hostd.git.command import GitError, User, child, complaint, git, read_tail, run
from hostd.git.owner import owner

FETCH_TIMEOUT_S = 1800.0
PUSH_TIMEOUT_S = 600.0
# A pack that only crosses a socket is not worth much compression.
_QUICK = ("pack.compression=1", "pack.window=4", "core.bigFileThreshold=16m")
_WITH_ACCOUNT = 'mount --bind "$0" /etc/passwd && exec "$@"'


class Courier:
    """`home` holds copies of the credentials that the courier's user alone can read."""

    def __init__(self, home: Path, user: User, *, credentials: Path | None, ssh_key: Path | None) -> None:
        self._home = home
        self._user = user
        self._sources = {"credentials": credentials, "ssh_key": ssh_key}

    def open(self) -> None:
        """Copy the credentials. `UpstreamError` when a configured file cannot be read."""
        self._home.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(self._home, self._user.uid, self._user.gid)
        for name, source in self._sources.items():
            (self._home / name).unlink(missing_ok=True)
            if source is not None:
                self._write(name, self._read(source))
        account = f"swarm-git:x:{self._user.uid}:{self._user.gid}::{self._home}:/usr/sbin/nologin\n"
        self._write("passwd", Path("/etc/passwd").read_bytes() + account.encode())

    @staticmethod
    def _read(source: Path) -> bytes:
        try:
            return source.read_bytes()
        except OSError as error:
            raise UpstreamError(f"git credentials: cannot read {source}: {error.strerror}") from error

    def _write(self, name: str, data: bytes) -> None:
        """A new file of the courier's user, who may have put anything into its home: no name there is trusted."""
        path = self._home / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
            if os.geteuid() == 0:
                os.fchown(file.fileno(), self._user.uid, self._user.gid)

    async def fetch(self, mirror: Path, address: Address, refspecs: Sequence[str]) -> None:
        """Bring the mirror's refs up to date. `GitError` carries what the upstream said."""
        options = ("--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--no-auto-gc")
        await self._talk(
            mirror, address, ("fetch", *options), refspecs, service="upload-pack", timeout_s=FETCH_TIMEOUT_S
        )

    async def look_up(self, mirror: Path, address: Address, ref: str) -> str:
        """Object id of a ref at the upstream; empty: it has none of this name."""
        output = await self._talk(
            mirror, address, ("ls-remote", "--refs"), (ref,), service="upload-pack", timeout_s=PUSH_TIMEOUT_S
        )
        found = [line.split("\t") for line in output.decode(errors="replace").splitlines()]
        return next((columns[0] for columns in found if columns[-1] == ref), "")

    async def head_branch(self, mirror: Path, address: Address) -> str:
        """Branch that the upstream's HEAD names; empty: it names none that exists."""
        options = ("ls-remote", "--symref")
        output = await self._talk(mirror, address, options, ("HEAD",), service="upload-pack", timeout_s=PUSH_TIMEOUT_S)
        lines = output.decode(errors="replace").splitlines()
        named = [line.split("\t")[0].removeprefix("ref: ") for line in lines if line.startswith("ref: refs/heads/")]
        return named[0].removeprefix("refs/heads/") if named else ""

    async def push(self, mirror: Path, address: Address, head: str, ref: str, *, expected: str, objects: Path) -> None:
        """Set `ref` to `head` if it is at `expected` (empty: absent). `GitError` carries what the upstream said.

        The repository that git runs in is the mirror, whose configuration is ours; of the staging repository it sees
        the object store only.
        """
        options = ("push", "--quiet", "--no-verify", "--no-signed", f"--force-with-lease={ref}:{expected}")
        await self._talk(
            mirror,
            address,
            options,
            (f"{head}:{ref}",),
            service="receive-pack",
            timeout_s=PUSH_TIMEOUT_S,
            env={"GIT_ALTERNATE_OBJECT_DIRECTORIES": str(objects)},
        )

    async def _talk(
        self,
        mirror: Path,
        address: Address,
        options: Sequence[str],
        arguments: Sequence[str],
        *,
        service: str,
        timeout_s: float,
        env: dict[str, str] | None = None,
    ) -> bytes:
        if address.path:
            async with self._owner(address, service) as fd:
                argv = git(*options, "--", f"fd::{fd}", *arguments, protocols=("fd",))
                return await run([*self._user.prefix(), *argv], cwd=mirror, env=env, fds=(fd,), timeout_s=timeout_s)
        prefix, settings = self._network(address)
        argv = git(*options, "--", address.url, *arguments, protocols=(address.scheme,), config=settings)
        return await run([*prefix, *argv], cwd=mirror, env={**(env or {}), **self._ssh()}, timeout_s=timeout_s)

    @contextlib.asynccontextmanager
    async def _owner(self, address: Address, service: str) -> AsyncIterator[int]:
        """The other end of a git service in a local repository, run by the repository's owner."""
        # Beside our own look at the owners, git shall refuse what is not the user's own.
        argv = [*owner(address.path).prefix(), *git(service, address.path, config=(*_QUICK, "safe.directory="))]
        ours, theirs = socket.socketpair()
        with ours, theirs:
            async with child(argv, stdin=theirs.fileno(), stdout=theirs.fileno()) as process:
                theirs.close()
                assert process.stderr is not None
                errors = asyncio.create_task(read_tail(process.stderr))
                try:
                    yield ours.fileno()
                except GitError as error:
                    ours.close()
                    said = complaint(await errors)
                    raise GitError(error.status, said or str(error), error.output) from None
                finally:
                    errors.cancel()

    def _network(self, address: Address) -> tuple[list[str], list[str]]:
        """Command prefix and configuration for a remote repository."""
        prefix = self._user.prefix()
        if address.scheme == "ssh" and prefix:  # ssh refuses to run for a user that has no account
            private = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", _WITH_ACCOUNT]
            prefix = [*private, str(self._home / "passwd"), *prefix]
        credentials = self._home / "credentials"
        settings = [f"credential.helper=store --file={credentials}"] if self._sources["credentials"] else []
        return prefix, settings

    def _ssh(self) -> dict[str, str]:
        key = f"-i {self._home}/ssh_key -o IdentitiesOnly=yes" if self._sources["ssh_key"] else ""
        known = f"-o UserKnownHostsFile={self._home}/known_hosts -o StrictHostKeyChecking=accept-new"
        command = f"ssh -F none -o BatchMode=yes -o ConnectTimeout=20 {known} {key}"
        return {"GIT_SSH_COMMAND": command, "GIT_SSH_VARIANT": "ssh"}
