"""Whose fault it is when git fails: it says so in words only, and its exit status is the same for all of them."""

from __future__ import annotations

import re

from hostd.errors import (
    HostError,
    MirrorError,
    PushFailedError,
    RepositoryRefusedError,
    UpstreamError,
    UpstreamLimitedError,
)
from hostd.git.command import GitError

# Only words about the repository: what git misses on this host's disk is not the ticket's fault.
_REFUSED = (
    r"repository.* not (found|exist)|project.* could not be found|does not appear to be a git repository"
    r"|authentication failed|could not read (username|password)|permission denied \(|access denied"
    r"|permission to .* denied|returned error: (401|403|404|410)"
)
# In this order: a host that lacks room may fail in words that look like an upstream's.
_SIGNS: tuple[tuple[re.Pattern[str], type[HostError]], ...] = tuple(
    (re.compile(words, re.IGNORECASE), kind)
    for words, kind in (
        (r"no space left|disk quota|cannot allocate memory|out of memory", MirrorError),
        (r"\b429\b|too many requests|rate.?limit", UpstreamLimitedError),
        (r"^! \[|stale info|non-fast-forward|protected branch|hook declined", PushFailedError),
        (_REFUSED, RepositoryRefusedError),
    )
)


def blamed(what: str, error: GitError) -> HostError:
    """The error for `what` could not be done at the upstream. What nothing is known of is an upstream that is away."""
    text = str(error)
    kind = next((kind for sign, kind in _SIGNS if sign.search(text)), UpstreamError)
    return kind(f"{what}: {text}")
