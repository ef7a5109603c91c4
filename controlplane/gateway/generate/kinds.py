"""Kinds of fields and messages that JSON treats in ways of their own."""

from __future__ import annotations

from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

F = FieldDescriptor

WRAPPERS: Final = "google/protobuf/wrappers.proto"
NULL: Final = "google.protobuf.NullValue"
ANY: Final = "google.protobuf.Any"
VALUE: Final = "google.protobuf.Value"
# Their JSON is not what their fields would make.
WELL_KNOWN: Final = frozenset(
    f"google.protobuf.{name}"
    for name in ("Timestamp", "Duration", "FieldMask", "Struct", "ListValue", "Value", "Empty")
)
LONG: Final = frozenset({F.TYPE_INT64, F.TYPE_UINT64, F.TYPE_FIXED64, F.TYPE_SFIXED64, F.TYPE_SINT64})
MESSAGES: Final = frozenset({F.TYPE_MESSAGE, F.TYPE_GROUP})


def is_wrapper(message: Descriptor) -> bool:
    return message.file.name == WRAPPERS
