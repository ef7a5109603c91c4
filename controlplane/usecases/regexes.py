"""Regular expressions of people we do not know, matched in linear time: RE2, whose syntax has no look-around.

The one place that knows the library, which has no types.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import re2

MEMORY: Final = 1 << 20  # bytes that one compiled expression may take
LONGEST: Final = 4096
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


class BadRegexError(ValueError):
    """No regular expression, or one that only backtracking could match."""


@lru_cache(1024)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = MEMORY
    options.log_errors = False
    if len(pattern) > LONGEST:
        raise BadRegexError(f"longer than {LONGEST} characters")
    try:
        return re2.compile(_ESCAPE.sub(_translated, pattern), options)
    except (re2.error, ValueError) as error:
        reason = error.args[0] if error.args else "bad"
        words = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise BadRegexError(f"{pattern[:100]!r} is no regular expression of RE2: {words}") from None


def _translated(escape: re.Match[str]) -> str:
    """JSON Schema writes code points as ECMA 262 does, RE2 in its own way."""
    return f"\\x{{{escape[1]}}}" if escape[1] else escape[0]


def check(pattern: str) -> None:
    """`BadRegexError` for what cannot be matched in linear time."""
    _compiled(pattern)


def found(pattern: str, text: str) -> bool:
    """Whether the pattern matches anywhere in the text. `BadRegexError`."""
    return _compiled(pattern).search(text.encode(errors="replace").decode()) is not None
