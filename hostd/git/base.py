"""The commit that an attempt starts from: the default branch, or the heads of its dependencies merged in the mirror."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hostd.errors import MirrorError, RepositoryRefusedError
from hostd.git.command import GitError
from hostd.git.mirror import Mirror
from hostd.git.refname import check_object
from hostd.ports import Dependency

_CONFLICT = 1
_AUTHOR = {"NAME": "Swarm", "EMAIL": "swarm@localhost"}


@dataclass(frozen=True, slots=True)
class Base:
    """`commit` is empty for a repository without any commit; `merge_heads` are those that conflict with it."""

    commit: str
    conflicts: tuple[str, ...] = ()
    merge_heads: tuple[str, ...] = ()


async def make_base(
    mirror: Mirror, default_branch: str, dependencies: Sequence[Dependency], continue_from: str
) -> Base:
    """Merge in the given order with a fixed identity and date, so that the same heads always give the same commit."""
    if continue_from:
        return Base(await _commit(mirror, continue_from, "the head to continue from"))
    heads = [await _commit(mirror, each.head, f"the head of {each.ticket_key}") for each in dependencies]
    if not heads:
        return Base(await _tip(mirror, default_branch))
    base, conflicts, open_heads = heads[0], list[str](), list[str]()
    for head, dependency in zip(heads[1:], dependencies[1:], strict=True):
        merged = await _merge(mirror, base, head, f"Merge {dependency.ticket_key} into the base")
        if isinstance(merged, str):
            base = merged
        else:
            open_heads.append(head)
            conflicts.extend(merged)
    return Base(base, tuple(dict.fromkeys(conflicts)), tuple(open_heads))


async def _commit(mirror: Mirror, head: str, what: str) -> str:
    check_object(head)
    try:
        await mirror.git("cat-file", "-e", f"{head}^{{commit}}")
    except GitError:
        raise RepositoryRefusedError(f"{what} ({head[:12]}) is not in {mirror.address.url}") from None
    return head


async def _tip(mirror: Mirror, branch: str) -> str:
    ref = f"refs/heads/{branch}"
    found = await mirror.refs("refs/heads/")
    if ref in found:
        return found[ref][0]
    if found:
        raise RepositoryRefusedError(f"{mirror.address.url} has no branch {branch}")
    return ""


async def _merge(mirror: Mirror, ours: str, theirs: str, message: str) -> str | list[str]:
    """The merged commit, or the paths that conflict."""
    ancestor = (await _merge_base(mirror, ours, theirs)).strip()
    if ancestor == theirs:
        return ours
    if ancestor == ours:
        return theirs
    try:
        output = await mirror.git("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", ours, theirs)
    except GitError as error:
        if error.status != _CONFLICT:
            raise MirrorError(f"cannot merge {theirs[:12]} into {ours[:12]}: {error}") from error
        return [path.decode(errors="replace") for path in error.output.split(b"\0")[1:] if path]
    tree = output.rstrip(b"\0\n").decode()
    date = await _date(mirror, ours, theirs)
    identity = {f"GIT_{who}_{part}": value for who in ("AUTHOR", "COMMITTER") for part, value in _AUTHOR.items()}
    env = {**identity, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    commit = await mirror.git("commit-tree", tree, "-p", ours, "-p", theirs, "-m", message, env=env)
    return commit.decode().strip()


async def _merge_base(mirror: Mirror, ours: str, theirs: str) -> str:
    try:
        return (await mirror.git("merge-base", ours, theirs)).decode()
    except GitError as error:
        if error.status != _CONFLICT:
            raise
        raise RepositoryRefusedError(f"{ours[:12]} and {theirs[:12]} have no common history") from None


async def _date(mirror: Mirror, *commits: str) -> str:
    """The younger of the parents' dates, so that the history stays in order."""
    output = await mirror.git("show", "--no-patch", "--format=%ct", *commits)
    return f"@{max(int(line) for line in output.split())} +0000"
