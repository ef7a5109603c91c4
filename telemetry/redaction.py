"""Takes out of what is written down whatever looks like a credential, or is named like one."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

BLANK: Final = "[redacted]"
SHORTEST: Final = 8  # anything shorter would blank ordinary words

# They stop before a quote, because they look at encoded JSON too.
_SECRETS: Final = re.compile(
    r"(?<=[Bb]earer )[^\s\"\\]+|(?<=BEARER )[^\s\"\\]+|(?<=[Bb]asic )[A-Za-z0-9+/=]{8,}"
    r"|swm_[a-z]+_[A-Za-z0-9_-]+"
    r"|eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){0,3}"
    r"|sk-ant-[A-Za-z0-9_-]+"
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|(?<=://)[^\s/@\"\\]+(?=@)"
)
# One of them is in every match; looking for them costs a fraction of the expression.
_MARKS: Final = (
    *("earer ", "EARER ", "asic ", "swm_", "eyJ", "sk-ant-"),
    *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "_pat_", "://"),
)
_NAMES: Final = re.compile(
    r"token|secret|passw(?:or)?d|passphrase|authorization|credential|cookie|api_?key|recovery_code", re.IGNORECASE
)
_known: set[str] = set()


def keep_secret(value: str) -> None:
    """Blanks exactly this from now on, whatever it looks like."""
    if len(value) >= SHORTEST:
        _known.add(value)


def redact_text(text: str) -> str:
    for secret in _known:
        if secret in text:
            text = text.replace(secret, BLANK)
    for mark in _MARKS:
        if mark in text:
            return _SECRETS.sub(BLANK, text)
    return text


@lru_cache(4096)
def is_secret(name: str) -> bool:
    """Whether what is named like this is not for the log."""
    return _NAMES.search(name) is not None


def redact(value: Any, name: str = "") -> Any:
    """The value without what looks or is named like a credential; how many of something there are is no secret."""
    if name and is_secret(name) and not isinstance(value, bool | int | float):
        return BLANK
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {key: redact(each, str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redact(each) for each in value]
    return value
