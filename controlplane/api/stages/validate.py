"""protovalidate rules of the messages; violations name fields by JSON pointer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import Any, Final

import protovalidate
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from controlplane.errors import InvalidInput, Violation

_RULES: Final = protovalidate.Validator()
MOST_VIOLATIONS: Final = 50


def validate(message: Message) -> None:
    """Raises `InvalidInput` with every violation, of which the message shows the first."""
    if has_rules(message.DESCRIPTOR):
        refuse(violations(message))


@cache
def has_rules(kind: Descriptor) -> bool:
    """Whether anything is said about such a message or what it may hold."""
    kinds = [kind]
    for each in kinds:  # grows while it is walked: messages may hold themselves
        if any(part.GetOptions().HasExtension(rule) for part, rule in parts(each)):
            return True
        held = (field.message_type for field in each.fields)
        kinds += [one for one in held if one is not None and one not in kinds]
    return False


def parts(kind: Descriptor) -> Iterator[tuple[Any, Any]]:
    """What may have rules, with the extension that holds them."""
    yield kind, validate_pb2.message
    yield from ((field, validate_pb2.field) for field in kind.fields)
    yield from ((one, validate_pb2.oneof) for one in kind.oneofs)


def refuse(found: Iterable[Violation]) -> None:
    """Raises `InvalidInput` when there are violations."""
    faults = tuple(found)[:MOST_VIOLATIONS]
    if faults:
        first = faults[0]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InvalidInput(f"{first.field or '/'}: {first.description}{more}", violations=faults)


def violations(message: Message, under: str = "", fields: Collection[str] = ()) -> list[Violation]:
    """What breaks the rules, as pointers below `under`; only in the named top fields when some are named."""
    found = []
    for each in _RULES.collect_violations(message):
        elements = each.proto.field.elements if each.proto.field else []
        if not fields or (elements and elements[0].field_name in fields):
            found.append(Violation(under + pointer(elements), each.proto.message))
    return found


def pointer(elements: Iterable[protovalidate.FieldPathElementPb]) -> str:
    """JSON pointer of a field path: `specs[1].resources.labels["a/b"]` is `/specs/1/resources/labels/a~1b`."""
    parts = []
    for element in elements:
        parts.append(element.field_name)
        if element.subscript is not None:
            parts.append(str(element.subscript.value))
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
