"""What an agent puts out for the steps after it: one small JSON object, merged from its events."""

from __future__ import annotations

import json
from typing import Any

LIMIT = 8 << 10  # bytes of JSON; larger things belong into files of the checkout
_DEEPEST = 16


class Outputs:
    """The object so far."""

    def __init__(self) -> None:
        self.value: dict[str, Any] = {}

    def merge(self, data: dict[str, Any]) -> str:
        """Members of the same name are replaced. Why it was left out; empty: it was taken."""
        merged = {**self.value, **data}
        try:
            packed = json.dumps(merged, allow_nan=False)
            json.dumps(merged, ensure_ascii=False).encode()  # lone surrogates are no text
        except (ValueError, RecursionError):
            return "the output is no JSON that can be sent"
        if len(packed) > LIMIT:
            return f"the outputs are larger than {LIMIT >> 10} KiB; leave larger things in files"
        if not _is_sendable(merged, _DEEPEST):
            return f"the output is nested deeper than {_DEEPEST} levels, or holds too large a number"
        self.value = merged
        return ""


def _is_sendable(value: Any, depth: int) -> bool:
    if isinstance(value, (dict, list)):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_sendable(each, depth - 1) for each in inner)
    return not isinstance(value, int) or abs(value) <= 1 << 53
