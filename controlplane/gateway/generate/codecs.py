"""Writes the tables by which messages become JSON and back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from controlplane.gateway.generate.api import Api, is_map, key_field, value_field
from controlplane.gateway.generate.modules import module
from controlplane.gateway.protojson.kinds import KINDS

_LOADED: Final = """
BY_NAME = Codecs(MESSAGES, ENUMS, message_class)
CODECS: Mapping[type[Message], Codec] = {codec.new: codec for codec in BY_NAME.values()}
"""


def codecs_module(api: Api) -> str:
    """Rows of all messages and enums, and `BY_NAME` and `CODECS` which are made of them."""
    enums = "".join(f'    "{enum.full_name}": {_enum(enum)},\n' for enum in api.enums)
    messages = "".join(_message(message) for message in api.messages)
    body = (
        f"ENUMS: Mapping[str, Enum] = {{\n{enums}}}\n\n"
        f"MESSAGES: Mapping[str, Sequence[Row]] = {{\n{messages}}}\n{_LOADED}"
    )
    return module("protos", body, ["from .messages import message_class"])


def json_names(field: FieldDescriptor) -> tuple[str, ...]:
    """Its spellings in JSON, the field's own name first."""
    return (field.name,) if field.json_name == field.name else (field.name, field.json_name)


def _enum(enum: EnumDescriptor) -> str:
    numbers = {value.name: value.number for value in enum.values}
    return f"Enum({numbers!r}{', closed=True' if enum.is_closed else ''})"


def _message(message: Descriptor) -> str:
    rows = "".join(f"        Row({', '.join(_row(field))}),\n" for field in message.fields)
    return f'    "{message.full_name}": (\n{rows}    ),\n' if rows else f'    "{message.full_name}": (),\n'


def _row(field: FieldDescriptor) -> Iterator[str]:
    value = value_field(field)
    yield from (str(field.number), f'"{field.name}"', f'"{_kind(value)}"')
    if field.json_name != field.name:
        yield f"json={field.json_name!r}"
    if of := value.message_type or value.enum_type:
        yield f'of="{of.full_name}"'
    if is_map(field):
        yield f'key="{_kind(key_field(field))}"'
    elif field.is_repeated:
        yield "repeated=True"
    if field.has_presence and not field.is_repeated:
        yield "presence=True"
    if field.is_required:
        yield "required=True"
    if field.containing_oneof is not None and len(field.containing_oneof.fields) > 1:
        yield f'oneof="{field.containing_oneof.name}"'
    if field.has_default_value:
        yield f"default={_default(field.default_value)}"


def _default(value: Any) -> str:
    """As source; infinities and NaN are no literals."""
    return f'float("{value}")' if isinstance(value, float) and not math.isfinite(value) else repr(value)


def _kind(field: FieldDescriptor) -> str:
    return KINDS[field.type - 1]
