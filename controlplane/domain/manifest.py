"""What the manifests of agents and workflows have in common: strict JSON, names, versions, faults by JSON pointer."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
IMAGE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
VERSION: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
NAME_LIMIT: Final = 63
DESCRIPTION_LIMIT: Final = 2000


class ManifestError(ValueError):
    """What is wrong: `field` is a JSON pointer into the manifest, or a path of a bundle."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


def decode(text: bytes) -> Any:
    """The JSON value in `text`; names that occur twice are refused. `ManifestError`."""
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except RecursionError:
        raise ManifestError("", "nested too deeply") from None
    except ValueError as error:
        raise ManifestError("", f"not JSON: {error}") from None


def members(value: object, known: Collection[str], at: str = "") -> Mapping[str, Any]:
    """The value as an object that has no other members than `known`."""
    if not isinstance(value, Mapping):
        raise ManifestError(at, "an object is expected")
    for name in value:
        if name not in known:
            raise ManifestError(f"{at}/{escape(str(name))}", "unknown field")
    return value


def text_of(value: Mapping[str, Any], field: str, limit: int, default: str | None = None, at: str = "") -> str:
    """The string member `field`, of at most `limit` characters."""
    text = value.get(field, default)
    if not isinstance(text, str):
        raise ManifestError(f"{at}/{field}", "missing" if text is None else "a string is expected")
    if len(text) > limit:
        raise ManifestError(f"{at}/{field}", f"longer than {limit} characters")
    return text


def matching(value: Mapping[str, Any], field: str, pattern: re.Pattern[str], at: str = "") -> str:
    """The string member `field`, which has the form of `pattern`."""
    text = text_of(value, field, NAME_LIMIT, at=at)
    if not pattern.fullmatch(text):
        raise ManifestError(f"{at}/{field}", f"{text!r} does not have the form {pattern.pattern}")
    return text


def reference(value: Mapping[str, Any], field: str, at: str = "") -> str:
    """A member of the form `name` or `name@version`."""
    text = text_of(value, field, 2 * NAME_LIMIT, at=at)
    name, mark, version = text.partition("@")
    if not NAME.fullmatch(name) or (mark and not VERSION.fullmatch(version)):
        raise ManifestError(f"{at}/{field}", f"{text!r} is not of the form NAME or NAME@VERSION")
    return text


def escape(name: str) -> str:
    """One part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")[:100]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in an object")
    return found
