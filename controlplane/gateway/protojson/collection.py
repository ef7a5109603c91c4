"""Lists and maps of generated decoders, one way for each kind of element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from controlplane.gateway.protojson.faults import WRONG, Faults, Refused, step
from controlplane.gateway.protojson.scalar import string

# Reads a JSON value into the message; faults below the pointer go into the list.
Decode: TypeAlias = Callable[[Any, Any, str, Faults], None]
Convert: TypeAlias = Callable[[Any], Any]


def decode_scalars(json: Any, target: Any, convert: Convert, at: str, faults: Faults) -> None:
    """`target` is a repeated field of scalars."""
    if type(json) is not list:
        faults.add(at, "must be a list")
        return
    for index, item in enumerate(json):
        try:
            target.append(convert(item))
        except WRONG as error:
            faults.wrong(at, index, error)


def decode_strings(json: Any, target: Any, at: str, faults: Faults) -> None:
    """`target` is a repeated field of strings, which need no conversion."""
    if type(json) is list and {str}.issuperset(map(type, json)):
        target.extend(json)
    else:
        decode_scalars(json, target, string, at, faults)


def decode_messages(json: Any, target: Any, decode: Decode, at: str, faults: Faults) -> None:
    """`target` is a repeated field of messages."""
    if type(json) is not list:
        faults.add(at, "must be a list")
        return
    for index, item in enumerate(json):
        decode(item, target.add(), f"{at}/{index}", faults)


def decode_scalar_map(json: Any, target: Any, key: Convert, convert: Convert, at: str, faults: Faults) -> None:  # noqa: PLR0917  # generated code calls it
    """`target` is a map of scalars."""
    for name, found, item in _pairs(json, key, at, faults):
        try:
            if found in target:
                raise Refused("is there twice")
            target[found] = convert(item)
        except WRONG as error:
            faults.wrong(at, name, error)


def decode_message_map(json: Any, target: Any, key: Convert, decode: Decode, at: str, faults: Faults) -> None:  # noqa: PLR0917  # generated code calls it
    """`target` is a map of messages."""
    for name, found, item in _pairs(json, key, at, faults):
        try:
            if found in target:
                raise Refused("is there twice")
            decode(item, target[found], step(at, name), faults)
        except WRONG as error:
            faults.wrong(at, name, error)


def _pairs(json: Any, key: Convert, at: str, faults: Faults) -> list[tuple[str, Any, Any]]:
    if type(json) is not dict:
        faults.add(at, "must be an object")
        return []
    found = []
    for name, item in json.items():
        try:
            found.append((name, key(name), item))
        except Refused as error:
            faults.wrong(at, name, error)
    return found


def check_keys(json: dict[str, Any], names: dict[str, str], at: str, faults: Faults) -> None:
    """Finds the keys that are no fields, and fields that are there in both spellings."""
    seen: dict[str, str] = {}
    for key in json:
        field = names.get(key)
        if field is None:
            faults.add(step(at, key), "is not known")
        elif field in seen:
            faults.add(step(at, key), f"is the same field as {seen[field]!r}")
        else:
            seen[field] = key
