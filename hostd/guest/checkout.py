"""The ticket's repository: clone it, settle merges, commit what the agent left, push it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

from . import process
from .failure import Failure

_CONFIG = """\
[user]
\tname = {name}
\temail = {email}
[safe]
\tdirectory = *
[core]
\tbigFileThreshold = 16m
\tdeltaBaseCacheLimit = 16m
\tpackedGitWindowSize = 16m
\tpackedGitLimit = 64m
[pack]
\tthreads = 1
\twindowMemory = 32m
[gc]
\tauto = 0
[advice]
\tdetachedHead = false
[push]
\tdefault = nothing
[http]
\tversion = HTTP/1.1
"""
_MARKER = b"<<<<<<< "
# The broker is away for as long as its host daemon takes to start anew, and a pause of the VM cuts connections off.
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
_CUT_OFF = ("RPC failed", "the remote end hung up", "unexpected disconnect", "early EOF", "unable to access")
_ANSWERED = "The requested URL returned error: 4"


class Repository:
    """`terms` is Work.checkout; `log` gets git's remarks."""

    def __init__(
        self, terms: dict[str, Any], folder: str, env: dict[str, str], log: Callable[[str], None], deadline: float
    ) -> None:
        self._terms = terms
        self._folder = folder
        self._env = env
        self._log = log
        self._deadline = deadline
        self.base: str = terms.get("base", "")
        self._ref: str = terms["push_ref"]
        self._merge_heads: list[str] = terms.get("merge_heads", [])

    def prepare(self) -> None:
        """Clone, check out the base, and begin the first open merge. `Failure`."""
        self._configure()
        branch = self._ref.removeprefix("refs/heads/")
        self._must("prepare", "init", "--quiet", f"--initial-branch={branch}", ".")
        self._add_remote()
        if self.base:
            filters = ["--filter=blob:none"] if self._terms.get("partial") else []
            refs = ("+refs/heads/*:refs/remotes/origin/*", "+refs/swarm/*:refs/swarm/*")
            fetch = ("fetch", "--quiet", *filters, "origin", *refs)
            _expect("prepare", "fetch", self._remote(["git", *fetch], self._log))
            self._must("prepare", "checkout", "--quiet", "-B", branch, self.base)
        if self._merge_heads:
            self._git("merge", "--no-commit", "--no-ff", self._merge_heads[0])

    def conclude(self, message: str) -> str:
        """Commit what is not committed and settle the other merges. Returns the head; empty: nothing has changed."""
        unsettled = [path for path in self._lines("diff", "--name-only", "--diff-filter=U", "-z") if self._marked(path)]
        if unsettled:
            what = f"merge conflicts are left in {', '.join(unsettled[:10])}"
            raise Failure("agent", what, cause="merge_unsettled")
        self._must("agent", "add", "--all", ".")
        merging = os.path.exists(f"{self._folder}/.git/MERGE_HEAD")
        if merging or self._git("diff", "--cached", "--quiet", quiet=True) != 0:
            self._must("agent", "commit", "--quiet", "--no-verify", "-m", message)
        for head in self._merge_heads:
            if self._git("merge", "--no-edit", "--quiet", head) != 0:
                self._git("merge", "--abort")
                raise Failure("agent", f"the merge of {head[:12]} still conflicts", cause="merge_unsettled")
        head = "".join(self._lines("rev-parse", "--verify", "--quiet", "HEAD"))
        return "" if head == self.base else head

    def push(self) -> None:
        """Push the head. What the broker remarks goes to the log, its last word into the `Failure`."""
        said: list[str] = []
        refused = False

        def sink(line: str) -> None:
            nonlocal refused
            self._log(line)
            verdict = line.startswith("remote: refused") or "! [remote rejected]" in line
            refused = refused or verdict
            if verdict or not said or cut_off(said[0]):
                said[:] = [line.removeprefix("remote: ").strip()]

        argv = ["git", "push", "origin", f"HEAD:{self._ref}"]
        status = self._remote(argv, sink)
        if status != 0:
            cause = "checks_refused" if refused else "push_failed"
            raise Failure("push", said[0] if said else f"git push ended with status {status}", status, cause)

    def _configure(self) -> None:
        name, email = self._terms.get("author_name", "Swarm"), self._terms.get("author_email", "swarm@localhost")
        with open(f"{self._env['HOME']}/.gitconfig", "w") as file:
            file.write(_CONFIG.format(name=_quoted(name), email=_quoted(email)))

    def _add_remote(self) -> None:
        """What `git remote add` writes; starting git twice for it would cost more than anything else here."""
        lines = (
            '[remote "origin"]',
            f"\turl = {_quoted(self._terms['url'])}",
            "\tfetch = +refs/heads/*:refs/remotes/origin/*",
            f"\tpush = HEAD:{_quoted(self._ref)}",
            "",
        )
        with open(f"{self._folder}/.git/config", "a") as file:
            file.write("\n".join(lines))

    def _marked(self, path: str) -> bool:
        try:
            with open(f"{self._folder}/{path}", "rb") as file:
                return any(line.startswith(_MARKER) for line in file)
        except OSError:
            return False

    def _remote(self, argv: list[str], sink: process.Sink) -> int:
        """A command of git that talks to the broker; it is tried again where its connection broke."""
        broken = False

        def watch(line: str) -> None:
            nonlocal broken
            broken = broken or cut_off(line)
            sink(line)

        pauses = iter(PAUSES_S)
        while True:
            broken = False
            status = process.run(argv, self._folder, self._env, watch, self._deadline)
            pause = next(pauses, 0.0)
            if status == 0 or not broken or not pause:
                return status
            time.sleep(pause)

    def _git(self, *arguments: str, quiet: bool = False) -> int:
        sink = (lambda _line: None) if quiet else self._log
        return process.run(["git", *arguments], self._folder, self._env, sink, self._deadline)

    def _must(self, phase: str, *arguments: str) -> None:
        _expect(phase, arguments[0], self._git(*arguments))

    def _lines(self, *arguments: str) -> list[str]:
        argv = ["git", *arguments]
        done = subprocess.run(argv, cwd=self._folder, env=self._env, capture_output=True, check=False)
        separator = "\0" if "-z" in arguments else "\n"
        return [line for line in done.stdout.decode(errors="surrogateescape").split(separator) if line]


def cut_off(line: str) -> bool:
    """Whether git says that a connection broke, and not that it was answered with a refusal."""
    return any(words in line for words in _CUT_OFF) and _ANSWERED not in line


def _expect(phase: str, command: str, status: int) -> None:
    if status != 0:
        raise Failure(phase, f"git {command} ended with status {status}", status)


def _quoted(value: str) -> str:
    plain = "".join(c for c in value if c.isprintable() and c not in '"\\')
    return f'"{plain}"'
