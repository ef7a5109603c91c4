"""What clients of /ws say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import WSMsgType

from controlplane.errors import InvalidInput, Violation

MOST_ROOMS: Final = 100
LARGEST: Final = 2**63 - 1


def start(newest: int, cursor: int | None) -> int:
    """Where to begin; `InvalidInput` for a cursor of something that was not said yet, such as before a restore."""
    if cursor is None:
        return newest
    if newest and cursor > newest:
        raise InvalidInput(f"the last event there is {newest}: begin again", reason="cursor_ahead")
    return cursor


def parsed(message: Any) -> Mapping[str, Any]:
    """The object in a text frame."""
    if message.type is not WSMsgType.TEXT:
        raise InvalidInput("this takes text only")
    try:
        said = json.loads(message.data)
    except (ValueError, RecursionError):
        raise InvalidInput("this is no JSON") from None
    if not isinstance(said, dict):
        raise InvalidInput("a message is an object")
    return said


def names_in(said: Mapping[str, Any]) -> list[str]:
    names = said.get("rooms")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InvalidInput("rooms is a list of names", violations=(Violation("/rooms", "must be a list of names"),))
    if len(names) > MOST_ROOMS:
        raise InvalidInput(f"a socket has at most {MOST_ROOMS} rooms", reason="too_many_rooms")
    if not all(name.isascii() for name in names):
        raise InvalidInput("names of rooms are ASCII", violations=(Violation("/rooms", "must be ASCII"),))
    return list(dict.fromkeys(names))


def cursor_in(said: Mapping[str, Any], name: str) -> int | None:
    cursor = said.get("cursor")
    if isinstance(cursor, dict):
        cursor = cursor.get(name)
    if cursor is None:
        return None
    if isinstance(cursor, bool) or not isinstance(cursor, int) or not 0 <= cursor <= LARGEST:
        raise InvalidInput("a cursor is a number", violations=(Violation("/cursor", "must be a number from 0 on"),))
    return cursor
