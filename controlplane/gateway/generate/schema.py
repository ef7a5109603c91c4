"""JSON Schema of messages, as OpenAPI 3.1 takes it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from controlplane.gateway.generate.api import Api, enum_of, is_map, message_of, value_field
from controlplane.gateway.generate.kinds import ANY, LONG, MESSAGES, NULL, WELL_KNOWN, F, is_wrapper
from controlplane.gateway.generate.rules import constrain, is_required, rules_of

Schema = dict[str, Any]

_UNSIGNED: Final = frozenset({F.TYPE_UINT32, F.TYPE_FIXED32})
_UNSIGNED_LONG: Final = frozenset({F.TYPE_UINT64, F.TYPE_FIXED64})
# Patterns end a little before the largest numbers, which no one counts up to.
_SIGNED_NUMBER: Final[Schema] = {
    "type": "string",
    "format": "int64",
    "pattern": "^-?(0|[1-9][0-9]{0,17}|[1-8][0-9]{18}|9[01][0-9]{17})$",
}
_UNSIGNED_NUMBER: Final[Schema] = {
    "type": "string",
    "format": "uint64",
    "pattern": "^(0|[1-9][0-9]{0,18}|1[0-7][0-9]{18})$",
}
_SIMPLE: Final[dict[int, Schema]] = {
    F.TYPE_STRING: {"type": "string"},
    F.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    F.TYPE_BOOL: {"type": "boolean"},
    F.TYPE_FLOAT: {"type": "number", "format": "float"},
    F.TYPE_DOUBLE: {"type": "number", "format": "double"},
}
_KNOWN: Final[dict[str, Schema]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?([0-9]{1,11}|[12][0-9]{11})(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Empty": {"type": "object", "additionalProperties": False},
    ANY: {"type": "object", "properties": {"@type": {"type": "string"}}},
}


class Schemas:
    """Gives schemas of fields and keeps those of the messages that they name."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._found: dict[str, Schema] = {}
        self._taken: set[str] = set()  # messages that clients send, too
        for method in api.methods:
            self._take(method.input_type)

    def _take(self, message: Descriptor) -> None:
        if message.full_name in self._taken:
            return
        self._taken.add(message.full_name)
        for field in message.fields:
            if field.message_type is not None:
                self._take(field.message_type)

    def _is_there(self, message: Descriptor, field: FieldDescriptor) -> bool:
        """Whether it has to be, and in what is only answered, whether it always is: zeros and empty lists are told."""
        answered = message.full_name not in self._taken and not field.has_presence
        return answered or is_required(self._api, field)

    @property
    def components(self) -> dict[str, Schema]:
        return dict(sorted(self._found.items()))

    def of_field(self, field: FieldDescriptor) -> Schema:
        """With rules and comment."""
        schema = constrain(self._whole(field), rules_of(self._api, field), field)
        if comment := self._api.comment(field):
            schema["description"] = comment
        return schema

    def of_message(self, message: Descriptor) -> Schema:
        """A reference, or the schema itself where a type has JSON of its own."""
        name = message.full_name
        if name in WELL_KNOWN or name == ANY:
            return dict(_KNOWN[name])
        if is_wrapper(message):
            return self._single(message.fields_by_name["value"])
        if name not in self._found:
            self._found[name] = {}  # it may hold itself
            self._found[name] = self.object(message)
        return _reference(name)

    def object(self, message: Descriptor, without: Collection[str] = ()) -> Schema:
        """A message's own schema, less some fields."""
        fields = [field for field in message.fields if field.name not in without]
        schema: Schema = {"type": "object", "properties": {field.name: self.of_field(field) for field in fields}}
        if required := [field.name for field in fields if self._is_there(message, field)]:
            schema["required"] = required
        schema["additionalProperties"] = False
        if comment := self._api.comment(message):
            schema["description"] = comment
        return schema

    def _whole(self, field: FieldDescriptor) -> Schema:
        if is_map(field):
            return {"type": "object", "additionalProperties": self._single(value_field(field))}
        return {"type": "array", "items": self._single(field)} if field.is_repeated else self._single(field)

    def _single(self, field: FieldDescriptor) -> Schema:
        if field.type in MESSAGES:
            return self.of_message(message_of(field))
        if field.type == F.TYPE_ENUM:
            return self._enum(enum_of(field))
        if field.type in LONG:
            return dict(_UNSIGNED_NUMBER if field.type in _UNSIGNED_LONG else _SIGNED_NUMBER)
        if field.type in _UNSIGNED:
            return {"type": "integer", "format": "uint32", "minimum": 0, "maximum": (1 << 32) - 1}
        return dict(_SIMPLE.get(field.type, {"type": "integer", "format": "int32"}))

    def _enum(self, enum: EnumDescriptor) -> Schema:
        if enum.full_name == NULL:
            return {"type": "null"}
        if enum.full_name not in self._found:
            schema: Schema = {"type": "string", "enum": [value.name for value in enum.values]}
            if comment := self._api.comment(enum):
                schema["description"] = comment
            self._found[enum.full_name] = schema
        return _reference(enum.full_name)


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
