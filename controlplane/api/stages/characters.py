"""U+0000 is in no text that anybody means, and ends it for databases and programs further on: no string may hold it.

A spec card is left to `planning`, which refuses it too, and whose pointers are into the card.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from controlplane.api.stages.validate import refuse
from controlplane.errors import Violation

NUL: Final = "\0"
CARD: Final = "swarm.ticket.v1.ImportSpecRequest.card"


def refuse_nul(message: Message) -> None:
    """Raises `InvalidInput` that names each string with it. Only a message that has such a byte is walked."""
    if b"\0" in message.SerializeToString():
        refuse(Violation(at, "holds the character U+0000") for at in _places(message, ""))


def _places(message: Message, under: str) -> Iterator[str]:
    for field, value in message.ListFields():
        at = f"{under}/{field.name}"
        if field.full_name == CARD:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield from _in_map(value, at)
        elif field.is_repeated:
            for index, each in enumerate(value):
                yield from _in_value(field, each, f"{at}/{index}")
        else:
            yield from _in_value(field, value, at)


def _in_map(values: Mapping[Any, Any], at: str) -> Iterator[str]:
    """A key that holds one is named by its map."""
    for key, value in values.items():
        if NUL in str(key):
            yield at
        elif isinstance(value, Message):
            yield from _places(value, f"{at}/{key}")
        elif isinstance(value, str) and NUL in value:
            yield f"{at}/{key}"


def _in_value(field: FieldDescriptor, value: Any, at: str) -> Iterator[str]:
    if isinstance(value, Message):
        yield from _places(value, at)
    elif field.type == FieldDescriptor.TYPE_STRING and NUL in value:
        yield at
