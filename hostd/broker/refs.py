"""Reads refs of an attempt's staging repository."""

from __future__ import annotations

from hostd.broker.attempt import Terms
from hostd.git.command import GitError, git, run


async def accepted_head(terms: Terms) -> str:
    """What the attempt's ref stands at; empty: nothing was pushed yet."""
    if terms.staging is None:
        return ""
    try:
        output = await run(git("rev-parse", "--verify", "--quiet", terms.push_ref), cwd=terms.staging)
    except GitError:
        return ""
    return output.decode().strip()


async def known_commits(terms: Terms) -> list[str]:
    """Commits that a client need not send: all that the repository's refs name."""
    output = await run(git("for-each-ref", "--format=%(objectname)"), cwd=str(terms.staging))
    return sorted(set(output.decode().split()))
