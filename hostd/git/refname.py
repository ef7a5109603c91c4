"""Names of refs and objects, by the rules of git-check-ref-format and stricter where an argument could be misread."""

from __future__ import annotations

import re

from hostd.errors import RepositoryRefusedError

_BAD = re.compile(r"[\x00-\x20\x7f ~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|[/.]$")
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LONGEST = 255
ZERO = "0" * 40


def check_branch(name: str) -> str:
    """The name itself, such as ``main`` or ``feature/x``; `RepositoryRefusedError` says what is wrong with it."""
    if not name or len(name) > _LONGEST:
        raise RepositoryRefusedError(f"branch name of {len(name)} characters; 1 to {_LONGEST} are allowed")
    if name[0] in "-./" or name == "@" or name.startswith("refs/") or _BAD.search(name) or not name.isprintable():
        raise RepositoryRefusedError(f"{name!r} is not a branch name that git allows")
    return name


def check_ref(ref: str) -> str:
    """A full branch ref, ``refs/heads/<branch>``."""
    prefix = "refs/heads/"
    if not ref.startswith(prefix):
        raise RepositoryRefusedError(f"{ref!r} is not a branch under {prefix}")
    check_branch(ref.removeprefix(prefix))
    return ref


def is_object(text: str) -> bool:
    """Whether it is a full hex object id."""
    return _OBJECT.fullmatch(text) is not None


def check_object(text: str) -> str:
    """A full hex object id."""
    if not is_object(text):
        raise RepositoryRefusedError(f"{text[:80]!r} is not a full object id")
    return text
