"""The commit that a claim starts from: the default branch, or the heads of its dependencies merged in the mirror."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from controlplane.errors import FailedPrecondition, InvalidInput, Unavailable
from controlplane.forge.git import Git
from controlplane.ports import Base

_CONFLICT: Final = 1
_IDENTITY: Final = "Swarm <swarm@localhost>"


async def make_base(git: Git, default_branch: str, dependencies: Sequence[tuple[str, str]]) -> Base:
    """`dependencies` holds (ticket key, head). The same heads give the same commit, here as on every host."""
    heads = [await _commit(git, head, f"the head of {key}") for key, head in dependencies]
    if not heads:
        return Base(await tip(git, default_branch), default_branch)
    base, conflicts, unmerged = heads[0], list[str](), list[str]()
    for (key, _), head in zip(dependencies[1:], heads[1:], strict=True):
        merged, paths = await _merge(git, base, head, f"Merge {key} into the base")
        base = merged or base
        if not merged:
            unmerged.append(head)
            conflicts += paths
    return Base(base, default_branch, tuple(dict.fromkeys(conflicts)), tuple(unmerged))


async def tip(git: Git, branch: str) -> str:
    """Commit of a branch. InvalidInput when there is none."""
    output = await git.run("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}", check=False)
    found = output.stdout.decode().strip()
    if not found:
        raise InvalidInput(f"the repository has no branch {branch}", reason="no_branch")
    return found


async def _commit(git: Git, head: str, what: str) -> str:
    if (await git.run("cat-file", "-e", f"{head}^{{commit}}", check=False)).code:
        raise Unavailable(f"{what} ({head[:12]}) is not in the repository", reason="upstream_failed")
    return head


async def _merge(git: Git, ours: str, theirs: str, message: str) -> tuple[str, list[str]]:
    """The merged commit, or none and the paths that conflict."""
    found = await git.run("merge-base", ours, theirs, check=False)
    if found.code:
        raise FailedPrecondition(f"{ours[:12]} and {theirs[:12]} have no common history", reason="unmergeable")
    ancestor = found.stdout.decode().strip()
    if ancestor in {ours, theirs}:
        return (ours if ancestor == theirs else theirs), []
    arguments = ("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", ours, theirs)
    output = await git.run(*arguments, check=False)
    if output.code == _CONFLICT:
        return "", [path.decode(errors="replace") for path in output.stdout.split(b"\0")[1:] if path]
    if output.code:
        raise Unavailable(f"cannot merge {theirs[:12]} into {ours[:12]}", reason="git_failed")
    tree = output.stdout.rstrip(b"\0\n").decode()
    return await _write(git, tree, (ours, theirs), message), []


async def _write(git: Git, tree: str, parents: Sequence[str], message: str) -> str:
    """A commit whose date is the younger of its parents', so that the history stays in order."""
    dates = await git.text("show", "--no-patch", "--format=%ct", *parents)
    stamp = f"{_IDENTITY} {max(map(int, dates.split()))} +0000"
    lines = [f"tree {tree}", *(f"parent {each}" for each in parents), f"author {stamp}", f"committer {stamp}"]
    raw = "\n".join([*lines, "", message, ""]).encode()
    return await git.text("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw)
