"""Expressions of generated code that turn the value of a field into JSON text."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from typing import Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from controlplane.gateway.generate.api import Api, enum_of, is_map, key_field, local, message_of, value_field

F = FieldDescriptor

WRAPPERS: Final = "google/protobuf/wrappers.proto"
NULL: Final = "google.protobuf.NullValue"
ANY: Final = "google.protobuf.Any"
VALUE: Final = "google.protobuf.Value"
# Their codecs are written by hand, as `encode_NAME` and `decode_NAME` of protojson.wellknown.
WELL_KNOWN: Final[Mapping[str, str]] = {
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
    "google.protobuf.FieldMask": "field_mask",
    "google.protobuf.Struct": "struct",
    "google.protobuf.ListValue": "list",
    VALUE: "value",
    "google.protobuf.Empty": "empty",
}
LONG: Final = frozenset({F.TYPE_INT64, F.TYPE_UINT64, F.TYPE_FIXED64, F.TYPE_SFIXED64, F.TYPE_SINT64})
MESSAGES: Final = frozenset({F.TYPE_MESSAGE, F.TYPE_GROUP})
_OTHERS: Final = {
    F.TYPE_STRING: "quote",
    F.TYPE_BYTES: "base64_text",
    F.TYPE_DOUBLE: "double_text",
    F.TYPE_FLOAT: "single_text",
}


def is_wrapper(message: Descriptor) -> bool:
    return message.file.name == WRAPPERS


def has_own_json(message: Descriptor) -> bool:
    """Whether its JSON is something else than an object of its fields; Empty is `{}` in both ways."""
    name = message.full_name
    return is_wrapper(message) or name == ANY or (name in WELL_KNOWN and name != "google.protobuf.Empty")


def attribute(of: str, field: FieldDescriptor) -> str:
    """`of.field`, also where the name is a word of Python."""
    return f'getattr({of}, "{field.name}")' if keyword.iskeyword(field.name) else f"{of}.{field.name}"


class Names:
    """How one generated module calls codecs, which may stand in another."""

    def __init__(self, api: Api, file: str = "") -> None:
        self._api = api
        self._file = file
        self.modules: set[str] = set()

    def of(self, what: str, kind: Descriptor | EnumDescriptor) -> str:
        """Such as `encode_Ticket`, or `swarm_ticket_v1_ticket.encode_Ticket` from elsewhere."""
        if isinstance(kind, Descriptor) and kind.full_name in WELL_KNOWN:
            return f"{what}_{WELL_KNOWN[kind.full_name]}"
        if kind.full_name == ANY:
            return f"ANY.{what}"
        name = f"{what}_{local(kind)}"
        if kind.file.name == self._file:
            return name
        module = self._api.modules[kind.file.name]
        self.modules.add(module)
        return f"{module}.{name}"

    def scalar_text(self, field: FieldDescriptor, value: str) -> str:
        """An expression without braces or single quotes, whose value is the JSON text of one value."""
        if field.type in MESSAGES:
            return f"{self.of('encode', message_of(field))}({value})"
        if field.type == F.TYPE_ENUM:
            return f"{self.of('encode', enum_of(field))}({value})"
        if field.type == F.TYPE_BOOL:
            return f"BOOL[{value}]"
        if field.type in LONG:
            return f"long_text({value})"
        return f"{_OTHERS.get(field.type, 'str')}({value})"

    def text(self, field: FieldDescriptor, value: str) -> str:
        """The same for a whole field, lists and maps too."""
        if is_map(field):
            key = key_field(field)
            pair = f'{_key_text(key)} + ":" + {self.scalar_text(value_field(field), "v")}'
            return f'"{{" + ",".join([{pair} for k, v in {value}.items()]) + "}}"'
        if field.is_repeated:
            return f'"[" + ",".join([{self.scalar_text(field, "v")} for v in {value}]) + "]"'
        return self.scalar_text(field, value)


def _key_text(key: FieldDescriptor) -> str:
    if key.type == F.TYPE_STRING:
        return "quote(k)"
    return "BOOL_KEY[k]" if key.type == F.TYPE_BOOL else "long_text(k)"
