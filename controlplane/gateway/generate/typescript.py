"""TypeScript types of all messages, and of what each route takes and answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from controlplane.gateway.generate.api import Api, enum_of, is_map, local, message_of, value_field
from controlplane.gateway.generate.bindings import HttpBinding
from controlplane.gateway.generate.kinds import ANY, LONG, MESSAGES, NULL, WELL_KNOWN, F, is_wrapper

_HEAD: Final = """\
// Generated from protos; do not edit.
// As answers have it: fields without `?` are always there. Requests may leave out any: use Partial.

"""
_KNOWN: Final[Mapping[str, str]] = {
    "google.protobuf.Timestamp": "string",
    "google.protobuf.Duration": "string",
    "google.protobuf.FieldMask": "string",
    "google.protobuf.Struct": "Record<string, unknown>",
    "google.protobuf.Value": "unknown",
    "google.protobuf.ListValue": "unknown[]",
    "google.protobuf.Empty": "Record<string, never>",
    ANY: '{ "@type": string; [field: string]: unknown }',
}
_TEXTS: Final = frozenset({F.TYPE_STRING, F.TYPE_BYTES}) | LONG
_FLOATS: Final = frozenset({F.TYPE_FLOAT, F.TYPE_DOUBLE})


def typescript(api: Api, bindings: Sequence[HttpBinding]) -> str:
    """One module of exported types."""
    names = _Names(api)
    parts = [_enum(api, names, enum) for enum in api.enums if enum.full_name != NULL]
    parts += [_interface(api, names, message) for message in api.messages if names.has_own(message)]
    routes = "".join(_route(names, binding) for binding in bindings)
    return _HEAD + "\n".join(parts) + f"\nexport interface Routes {{\n{routes}}}\n"


class _Names:
    """Short names where they are no other's, else with the package."""

    def __init__(self, api: Api) -> None:
        kinds: list[Descriptor | EnumDescriptor] = [*api.messages, *api.enums]
        self._often = Counter(local(kind) for kind in kinds if self._counts(kind))

    def has_own(self, message: Descriptor) -> bool:
        return self._counts(message)

    @staticmethod
    def _counts(kind: Descriptor | EnumDescriptor) -> bool:
        return kind.file.package != "google.protobuf"

    def of(self, kind: Descriptor | EnumDescriptor) -> str:
        return local(kind) if self._often[local(kind)] <= 1 else kind.full_name.replace(".", "_")

    def single(self, field: FieldDescriptor) -> str:
        if field.type in MESSAGES:
            return self.message(message_of(field))
        if field.type == F.TYPE_ENUM:
            return "null" if enum_of(field).full_name == NULL else self.of(enum_of(field))
        if field.type in _TEXTS:
            return "string"
        if field.type == F.TYPE_BOOL:
            return "boolean"
        return 'number | "NaN" | "Infinity" | "-Infinity"' if field.type in _FLOATS else "number"

    def message(self, message: Descriptor) -> str:
        if message.full_name in WELL_KNOWN or message.full_name == ANY:
            return _KNOWN[message.full_name]
        return self.single(message.fields_by_name["value"]) if is_wrapper(message) else self.of(message)

    def whole(self, field: FieldDescriptor) -> str:
        kind = self.single(value_field(field))
        if is_map(field):
            return f"Record<string, {kind}>"
        return f"Array<{kind}>" if field.is_repeated else kind


def _comment(text: str, indent: str = "") -> str:
    if not text:
        return ""
    lines = text.replace("*/", "*\u200b/").splitlines()
    if len(lines) == 1:
        return f"{indent}/** {lines[0]} */\n"
    return f"{indent}/**\n" + "".join(f"{indent} * {line}".rstrip() + "\n" for line in lines) + f"{indent} */\n"


def _enum(api: Api, names: _Names, enum: EnumDescriptor) -> str:
    values = " | ".join(json.dumps(value.name) for value in enum.values)
    return f"{_comment(api.comment(enum))}export type {names.of(enum)} = {values};\n"


def _interface(api: Api, names: _Names, message: Descriptor) -> str:
    lines = ""
    for field in message.fields:
        maybe = "?" if field.has_presence else ""
        lines += f"{_comment(api.comment(field), '  ')}  {field.name}{maybe}: {names.whole(field)};\n"
    return f"{_comment(api.comment(message))}export interface {names.of(message)} {{\n{lines}}}\n"


def _route(names: _Names, binding: HttpBinding) -> str:
    method = binding.method
    answer = names.message(method.output_type)
    if binding.response_body:
        field = method.output_type.fields_by_name[binding.response_body]
        answer = names.whole(field) + (" | null" if field.has_presence and field.message_type else "")
    stream = " stream: true;" if method.server_streaming else ""
    key = json.dumps(f"{binding.verb} {binding.path}")
    return f"  {key}: {{ request: {names.message(method.input_type)}; answer: {answer};{stream} }};\n"
