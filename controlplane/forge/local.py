"""The local forge: pull requests are rows of ours, their branches live in the project's upstream repository."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controlplane.domain.cleanup import removable
from controlplane.domain.project import Project
from controlplane.domain.pullrequest import PullRequest
from controlplane.errors import FailedPrecondition
from controlplane.forge.git import Git
from controlplane.forge.mirror import Mirrors
from controlplane.ports import DiffStat, FileStat, MergeResult

# Rename detection off the command line of a hostile repository's attributes: no external diff, no textconv.
_DIFF: Final = ("--no-ext-diff", "--no-textconv", "--no-color")


@dataclass(frozen=True, slots=True)
class LocalForge:
    """Implements `ports.Forge` over any git URL that we can push to."""

    mirrors: Mirrors

    async def probe(self, repository: str) -> str:
        """Default branch of a repository."""
        return await self.mirrors.default_branch(repository)

    async def publish(self, project: Project, ticket_key: str, head: str) -> None:
        """Moves the ticket's pull request branch to `head`, wherever it stood; nothing to do when it is there."""
        repository = project.spec.repository
        git = await self.mirrors.fetch(repository)
        ref = f"refs/heads/swarm/{ticket_key}/pr"
        current = await _resolve(git, ref)
        if current != head:
            await self.mirrors.push(git, repository, head, ref, current)

    async def remove_attempts(self, project: Project, ticket_key: str, head: str) -> tuple[str, ...]:
        """Removes the branches of the ticket's attempts upstream and here; those that moved meanwhile stay."""
        repository = project.spec.repository
        git = await self.mirrors.fetch(repository)
        listed = await git.text("for-each-ref", "--format=%(refname) %(objectname)", f"refs/heads/swarm/{ticket_key}/")
        refs = dict(line.split(" ") for line in listed.splitlines())
        gone = removable(refs, ticket_key, head)
        for ref, oid in gone.items():
            await self.mirrors.push(git, repository, "", ref, oid)
            await git.run("update-ref", "-d", ref, oid)
        return tuple(gone)

    async def diff(self, project: Project, base: str, head: str, limit: int) -> tuple[bytes, bool]:
        """Unified diff of what `head` adds to `base`, cut at `limit` bytes."""
        git = await self._holding(project, base, head)
        out = (await git.run("diff", *_DIFF, f"{base}...{head}", "--")).stdout
        return out[:limit], len(out) > limit

    async def stat(self, project: Project, base: str, head: str) -> DiffStat:
        """Lines and files that `head` changes against `base`; binary files count no lines."""
        git = await self._holding(project, base, head)
        text = await git.text("diff", *_DIFF, "--numstat", f"{base}...{head}", "--")
        rows = [line.split("\t") for line in text.splitlines()]
        count = [sum(int(row[column]) for row in rows if row[column].isdigit()) for column in (0, 1)]
        return DiffStat(count[0], count[1], len(rows))

    async def files(self, project: Project, base: str, head: str) -> list[FileStat]:
        """What `head` changes against `base`, file by file."""
        git = await self._holding(project, base, head)
        return parse_numstat((await git.run("diff", *_DIFF, "--numstat", "-z", f"{base}...{head}", "--")).stdout)

    async def merge_base(self, project: Project, branch: str, head: str) -> str:
        """Last commit that `branch` and `head` share."""
        git = await self._holding(project, head)
        return await git.text("merge-base", f"refs/heads/{branch}", head)

    async def merge(self, project: Project, pull_request: PullRequest, message: str) -> MergeResult:
        """Merges into the pull request's base branch by a merge commit, or names the paths that conflict."""
        repository = project.spec.repository
        git = await self.mirrors.fetch(repository)
        ref = f"refs/heads/{pull_request.base_branch}"
        tip = await _resolve(git, ref)
        if not tip:
            raise FailedPrecondition(f"{pull_request.base_branch} is gone from {repository}", reason="base_gone")
        if not (await git.run("merge-base", "--is-ancestor", pull_request.head, tip, check=False)).code:
            return MergeResult(tip)
        tree, conflicts = await _merge_tree(git, tip, pull_request.head)
        if conflicts:
            return MergeResult("", conflicts)
        parents = ("-p", tip, "-p", pull_request.head)
        commit = (await git.run("commit-tree", tree, *parents, stdin=message.encode())).stdout.decode().strip()
        await self.mirrors.push(git, repository, commit, ref, tip)
        return MergeResult(commit)

    async def _holding(self, project: Project, *commits: str) -> Git:
        """The project's copy, brought up to date only when it lacks one of the commits."""
        git = await self.mirrors.opened(project.spec.repository)
        for commit in commits:
            if (await git.run("cat-file", "-e", f"{commit}^{{commit}}", check=False)).code:
                return await self.mirrors.fetch(project.spec.repository)
        return git


def parse_numstat(out: bytes) -> list[FileStat]:
    """`git diff --numstat -z`: a renamed file has no path in its first field, and its two paths in the next ones."""
    fields = iter(out.decode(errors="replace").split("\0"))
    found = []
    for field in fields:
        if not field:
            break
        added, deleted, path = field.split("\t", 2)
        old = next(fields) if not path else ""
        lines = [int(count) if count.isdigit() else 0 for count in (added, deleted)]
        found.append(FileStat(path or next(fields), old, lines[0], lines[1], binary=added == "-"))
    return found


async def _resolve(git: Git, ref: str) -> str:
    output = await git.run("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", check=False)
    return output.stdout.decode().strip()


async def _merge_tree(git: Git, ours: str, theirs: str) -> tuple[str, tuple[str, ...]]:
    """Tree of a merge made without a checkout, and the paths that conflict."""
    output = await git.run("merge-tree", "--write-tree", "--name-only", "--no-messages", ours, theirs, check=False)
    lines = output.stdout.decode(errors="replace").splitlines()
    if output.code == 1:
        return "", tuple(dict.fromkeys(line for line in lines[1:] if line))
    if output.code or not lines:
        raise FailedPrecondition("these histories cannot be merged", reason="unmergeable")
    return lines[0], ()
