"""The kinds of fields. Apart from what is native, since the generator runs before anything is compiled."""

from __future__ import annotations

from typing import Final

# In the order of FieldDescriptorProto.Type, which counts from one.
KINDS: Final = (
    *("double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "group", "message"),
    *("bytes", "uint32", "enum", "sfixed32", "sfixed64", "sint32", "sint64"),
)
