"""A JSON value to wire bytes of a message."""

from typing import Any, Protocol

from ext.jsontable import Table

class _Faults(Protocol):
    def add(self, at: str, why: str, /) -> None: ...
    def refused(self, at: str, error: Exception, /) -> None: ...

def read(table: Table, json: Any, at: str, faults: _Faults) -> bytes:
    """The message that `json` is, as `json.loads` makes it of strict JSON.

    All that is wrong goes into `faults`, with pointers below `at`; the bytes then lack it. No more than 100 objects
    and arrays within each other, and 95 messages.
    """

def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a JSON parser's pairs; `Refused` when a key is there twice."""
