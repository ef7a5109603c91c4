"""JSON from a guest: one object, no duplicate names, no number that is not one, no half of a surrogate pair."""

from __future__ import annotations

import json
import math
from typing import Any

from hostd.broker.refusal import Refusal


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in an object")
    return found


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def loads(data: bytes) -> dict[str, Any]:
    """The object, or a 400 that says what is wrong."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
        if "\\ud" in text.lower():  # escapes are the only way to a lone surrogate
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise Refusal(400, "JSON: nested too deeply") from None
    except ValueError as error:
        raise Refusal(400, f"JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise Refusal(400, "JSON: an object is expected")
    return value
