"""Writes the table that binds queries and path variables: the fields of all messages that a request can hold."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from controlplane.gateway.generate.api import is_map, message_of, value_field
from controlplane.gateway.generate.bindings import HttpBinding, in_text
from controlplane.gateway.generate.codecs import json_names
from controlplane.gateway.generate.kinds import MESSAGES, WELL_KNOWN, F, is_wrapper
from controlplane.gateway.generate.modules import module

_JSON = ("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue")


def fields_module(bindings: Sequence[HttpBinding]) -> str:
    """`MESSAGES`: fields by message and spelling."""
    rows = []
    for message in _reachable(bindings):
        rows.append(f'    "{message.full_name}": {{\n')
        for field in message.fields:
            rows += [f"        {spelling!r}: {_field(field)},\n" for spelling in json_names(field)]
        rows.append("    },\n")
    return module("protos", "MESSAGES: Mapping[str, Fields] = {\n" + "".join(rows) + "}\n")


def _reachable(bindings: Sequence[HttpBinding]) -> list[Descriptor]:
    found: dict[str, Descriptor] = {}
    waiting = [binding.method.input_type for binding in bindings]
    while waiting:
        message = waiting.pop()
        if message.full_name not in found:
            found[message.full_name] = message
            waiting += [message_of(field) for field in message.fields if _kind(field) == "message"]
    return [found[name] for name in sorted(found) if name not in WELL_KNOWN]


def _field(field: FieldDescriptor) -> str:
    kind = _kind(field)
    label = "map" if is_map(field) else "repeated" if field.is_repeated else ""
    given = [f'"{field.name}"', repr(field.json_name)]
    given += [f'"{kind}"'] if kind != "text" else []
    given += [f'label="{label}"'] if label else []
    given += [f'message="{message_of(field).full_name}"'] if kind == "message" else []
    return f"Field({', '.join(given)})"


def _kind(field: FieldDescriptor) -> str:
    value = value_field(field)
    if value.type in MESSAGES:
        return _message_kind(value, single=not field.is_repeated)
    return {F.TYPE_BOOL: "bool", F.TYPE_ENUM: "enum"}.get(value.type, "text")


def _message_kind(field: FieldDescriptor, *, single: bool) -> str:
    message = message_of(field)
    if is_wrapper(message):
        return _kind(message.fields_by_name["value"])
    if in_text(field):
        return "text"
    if message.full_name in _JSON:
        return "json"
    return "message" if single and message.full_name not in {*WELL_KNOWN, "google.protobuf.Any"} else "none"
