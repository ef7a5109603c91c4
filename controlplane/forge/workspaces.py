"""One bare repository per claim, written by hand: what a program clones from and pushes to, and nothing else.

It borrows the objects of the mirror and belongs to the account that the mirror belongs to. Its configuration is ours.
What is pushed stays in it until it was scanned and its attempt ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from controlplane.domain.refs import attempt_ref
from controlplane.errors import FailedPrecondition, Unauthenticated, Violation
from controlplane.forge import scan
from controlplane.forge.base import make_base, tip
from controlplane.forge.git import Account, Git
from controlplane.forge.mirror import Mirrors
from controlplane.ports import Assignment, Base

FILE_LIMIT: Final = 100 << 20
MERGE_REF: Final = "refs/swarm/merge/"
NOTE: Final = "swarm.json"
_ID: Final = re.compile(r"at_[0-9a-z]{1,64}")
_CONFIG: Final = """\
[core]
\trepositoryformatversion = 0
\tbare = true
\thooksPath = /dev/null
\tbigFileThreshold = 16m
[gc]
\tauto = 0
[uploadpack]
\tallowFilter = true
[receive]
\tdenyDeletes = true
\tdenyNonFastForwards = true
\tunpackLimit = 1
\tautogc = false
[pack]
\tthreads = 1
\twindowMemory = 64m
"""


@dataclass(frozen=True, slots=True)
class Note:
    """What we have to know of a repository again after a restart."""

    repository: str
    ref: str
    base: Base


@dataclass(slots=True)
class GitWorkspaces:
    """Implements `ports.Workspaces`. `root` holds the repositories, named by attempt."""

    root: Path
    mirrors: Mirrors
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    def lock(self, attempt_id: str) -> asyncio.Lock:
        """Held while something is pushed, or what was pushed is looked at."""
        return self._locks.setdefault(attempt_id, asyncio.Lock())

    async def prepare(self, assignment: Assignment) -> Base:
        """Brings the mirror up to date and makes the repository; one that is there stays as it is."""
        assert assignment.project is not None
        attempt, spec = assignment.attempt, assignment.project.spec
        async with self.lock(attempt.id):
            if (path := self._path(attempt.id)).exists():
                return self.note(attempt.id).base
            mirror = await self.mirrors.fetch(spec.repository)
            default = spec.default_branch or await self.mirrors.default_branch(spec.repository)
            base = await make_base(mirror, default, [(key, head) for key, _, head in assignment.dependencies])
            ref = attempt_ref(assignment.ticket.key, attempt.fence)
            refs = {ref: base.commit, f"refs/heads/{default}": await tip(mirror, default)}
            refs |= {f"{MERGE_REF}{number}": head for number, head in enumerate(base.merge_heads)}
            note = Note(spec.repository, ref, base)
            await self._make(path, mirror, note, refs)
            return base

    async def _make(self, path: Path, mirror: Git, note: Note, refs: Mapping[str, str]) -> None:
        """Complete or not at all. It holds what these refs reach and nothing else: git gives away all that it has."""
        fresh = Git(path.with_suffix(".new"), mirror.account)
        await asyncio.to_thread(_create, fresh.directory, mirror.account, note)
        wanted = [f"{refs[name]}:{name}" for name in sorted(refs)]
        fetch = ("fetch", "--quiet", "--keep", "--no-tags", "--no-write-fetch-head")
        # What is in the mirror was checked when it came in.
        await fresh.run("-c", "fetch.fsckObjects=false", *fetch, "--", str(mirror.directory.absolute()), *wanted)
        fresh.directory.rename(path)

    async def head(self, attempt_id: str) -> str:
        git = await self.git(attempt_id)
        return await git.text("rev-parse", "--verify", self.note(attempt_id).ref)

    async def inspect(self, attempt_id: str, head: str) -> tuple[str, ...]:
        """See ports.Workspaces."""
        async with self.lock(attempt_id):
            git, note = await self.git(attempt_id), self.note(attempt_id)
            if await self.head(attempt_id) != head:
                raise FailedPrecondition("the branch was pushed to meanwhile", reason="head_not_pushed")
            try:
                new = scan.new_commits(note.ref, note.base.commit, head)
                await _expect_small(git, new)
                findings = await scan.scan(git, new)
                if bad := [finding for finding in findings if finding.critical]:
                    raise _refused(bad)
            except FailedPrecondition:
                await _set_back(git, note, head)
                raise
            return tuple(map(str, findings))

    async def publish(self, assignment: Assignment, head: str) -> None:
        """Creates the attempt's ref upstream, or finds it there from an earlier try that was cut off."""
        attempt_id = assignment.attempt.id
        git, note = await self.git(attempt_id), self.note(attempt_id)
        try:
            await self.mirrors.push(git, note.repository, head, note.ref, "")
        except FailedPrecondition as error:
            if error.reason != "ref_moved":
                raise
            present = await self.mirrors.look_up(note.repository, note.ref)
            if present == head:
                return
            if not present or (await git.run("merge-base", "--is-ancestor", present, head, check=False)).code:
                raise
            await self.mirrors.push(git, note.repository, head, note.ref, present)

    async def discard(self, attempt_id: str) -> None:
        self._locks.pop(attempt_id, None)
        await asyncio.to_thread(shutil.rmtree, self._path(attempt_id), ignore_errors=True)

    async def present(self) -> list[str]:
        return [path.stem for path in self.root.glob("at_*.git")]

    async def git(self, attempt_id: str) -> Git:
        """Git on a claim's repository. Unauthenticated when it has none, as for a claim that is over."""
        mirror = await self.mirrors.opened(self.note(attempt_id).repository)
        return Git(self._path(attempt_id), mirror.account, mirror.credentials)

    def note(self, attempt_id: str) -> Note:
        try:
            found = json.loads((self._path(attempt_id) / NOTE).read_text(encoding="utf-8"))
        except OSError:
            raise Unauthenticated("the claim is over") from None
        return Note(found["repository"], found["ref"], _base(found["base"]))

    def _path(self, attempt_id: str) -> Path:
        if not _ID.fullmatch(attempt_id):
            raise Unauthenticated("the claim is over")
        return self.root / f"{attempt_id}.git"


def _base(found: Mapping[str, Any]) -> Base:
    return Base(found["commit"], found["default_branch"], tuple(found["conflicts"]), tuple(found["merge_heads"]))


def _create(path: Path, account: Account, note: Note) -> None:
    """An empty one. A clone has the attempt's branch checked out, so that a bare `git push` is right."""
    shutil.rmtree(path, ignore_errors=True)
    for folder in ("objects/pack", "refs/heads"):
        (path / folder).mkdir(parents=True)
    (path / "HEAD").write_text(f"ref: {note.ref}\n")
    (path / "config").write_text(_CONFIG)
    (path / NOTE).write_text(json.dumps(asdict(note)))
    _give(path, account)
    for parent in (path.parent, path.parent.parent, path.parent.parent.parent):
        if os.geteuid() == 0:  # the account has to walk to it; it may list nothing on the way
            parent.chmod(parent.stat().st_mode | 0o011)


def _give(path: Path, account: Account) -> None:
    """From the leaves up: nothing is touched any more below a folder that its new owner can already change."""
    for each in (*sorted(path.rglob("*"), reverse=True), path):
        each.chmod(0o700 if each.is_dir() else 0o600)
        if account.uid is not None and account.gid is not None:
            os.chown(each, account.uid, account.gid, follow_symlinks=False)


async def _expect_small(git: Git, commits: Sequence[str]) -> None:
    """FailedPrecondition for a file that is larger than any may be."""
    omitted = (f"--filter=blob:limit={FILE_LIMIT + 1}", "--filter-print-omitted")
    listed = await git.text("rev-list", "--objects", *omitted, *commits)
    if any(line.startswith("~") for line in listed.splitlines()):
        raise FailedPrecondition(f"a file may have {FILE_LIMIT >> 20} MiB", reason="file_too_large")


def _refused(findings: list[scan.Finding]) -> FailedPrecondition:
    first = findings[0]
    return FailedPrecondition(
        f"{len(findings)} critical finding(s), first: {first.path}:{first.line} {first.rule}; the branch is back at its"
        " base: take them out of every commit (git commit --amend, git rebase), push and complete again",
        reason="scan_refused",
        violations=tuple(Violation("/head", str(finding)) for finding in findings[:50]),
    )


async def _set_back(git: Git, note: Note, head: str) -> None:
    """To the base: what was refused must leave the history, and the branch takes fast-forwards only."""
    await git.run("update-ref", note.ref, note.base.commit, head)
