"""Updates by field mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

from controlplane.errors import InvalidInput, Violation

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def merge(old: T, new: T, paths: Sequence[str], updatable: Sequence[str]) -> T:
    """Take the named fields of `new`. InvalidInput, pointing into `/spec`, for one that is unknown or fixed."""
    known = {field.name for field in fields(old)}
    found = [
        Violation(f"/spec/{path}", "cannot be changed" if path in known else "is not known")
        for path in paths
        if path not in updatable
    ]
    if not paths:
        found = [Violation("/update_mask", "names no field")]
    if found:
        raise InvalidInput(f"{found[0].field} {found[0].description}", violations=tuple(found))
    return replace(old, **{path: getattr(new, path) for path in paths})
