"""Runs git as a child that holds no capability, reads no configuration but ours and never prompts."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controlplane.errors import DeadlineExceeded, Unavailable

_CONFIG: Final = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "safe.directory": "*",
    "gc.auto": "0",
    "transfer.fsckObjects": "true",
    "protocol.allow": "never",
    "protocol.http.allow": "always",
    "protocol.https.allow": "always",
    "protocol.ssh.allow": "always",
    "protocol.file.allow": "always",
}
# Same bytes whoever merges: the identity is ours, never that of the account that runs us.
_IDENTITY: Final = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Swarm"), ("EMAIL", "swarm@localhost"))
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files that stay on this side: one in git-credential-store format, one SSH private key."""

    store: Path | None = None
    ssh_key: Path | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """Who a git child runs as; None: whoever we are."""

    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class Output:
    code: int
    stdout: bytes
    stderr: str


@dataclass(frozen=True, slots=True)
class Git:
    """Git bound to one repository directory and one account."""

    directory: Path
    account: Account
    credentials: Credentials = field(default_factory=Credentials)
    timeout_s: float = 300.0

    async def run(self, *arguments: str, check: bool = True, stdin: bytes | None = None) -> Output:
        """Runs one git command; a non-zero end is Unavailable unless `check` is off."""
        output = await self._communicate(arguments, stdin)
        if check and output.code:
            raise Unavailable(f"git {arguments[0]} failed: {last_line(output.stderr)}", reason="git_failed")
        return output

    async def text(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Standard output of a command that must succeed, stripped."""
        return (await self.run(*arguments, stdin=stdin)).stdout.decode(errors="replace").strip()

    async def _communicate(self, arguments: Sequence[str], stdin: bytes | None) -> Output:
        child = await asyncio.create_subprocess_exec(
            *self.argv(arguments),
            env=self.environment(),
            stdin=asyncio.subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self.timeout_s):
                out, err = await child.communicate(stdin)
        except TimeoutError:
            raise DeadlineExceeded(f"git {arguments[0]} took longer than {self.timeout_s:.0f} s") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.communicate()  # to the end of its pipes, which stay open otherwise
        words = err.decode(errors="replace") or f"git ended with status {child.returncode} and without a word"
        return Output(child.returncode or 0, out, words if child.returncode else err.decode(errors="replace"))

    def argv(self, arguments: Sequence[str]) -> list[str]:
        """Full command line: capabilities and account dropped first, then git with our configuration alone."""
        options = dict(_CONFIG)
        if self.credentials.store is not None:
            options["credential.helper"] = _reading(self.credentials.store)
        settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        return [*self._drop(), "git", "--git-dir", str(self.directory), *settings, *arguments]

    def environment(self) -> Mapping[str, str]:
        """A clean environment: nothing of ours reaches git or its helpers."""
        ssh = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new"
        if self.credentials.ssh_key is not None:
            ssh += f" -o IdentitiesOnly=yes -i {self.credentials.ssh_key}"
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": "/nonexistent",
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": ssh,
            **_IDENTITY,
        }

    def _drop(self) -> list[str]:
        if os.geteuid() != 0:
            return []
        uid, gid = self.account.uid or 0, self.account.gid or 0
        account = [f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        return ["setpriv", *account, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"]


def _reading(store: Path) -> str:
    """A helper that only reads the file: git's own would delete a line from it when a server refuses it."""
    return f'!f() {{ test "$1" != get || git credential-store --file={shlex.quote(str(store))} get; }}; f'


def last_line(text: str) -> str:
    """The line of git's chatter that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "!"))]
    return (telling or lines or ["it ended without a word"])[-1][:500]
