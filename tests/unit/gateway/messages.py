"""Any message of a type, as a hypothesis strategy made from its descriptor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

F = FieldDescriptor
SIGNED = {F.TYPE_INT32: 32, F.TYPE_SINT32: 32, F.TYPE_SFIXED32: 32} | {
    F.TYPE_INT64: 64,
    F.TYPE_SINT64: 64,
    F.TYPE_SFIXED64: 64,
}
UNSIGNED = {F.TYPE_UINT32: 32, F.TYPE_FIXED32: 32, F.TYPE_UINT64: 64, F.TYPE_FIXED64: 64}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def whole(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return st.sampled_from([0, 1, low, high]) | st.integers(low, high)


def scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type in SIGNED:
        return whole(SIGNED[field.type], signed=True)
    if field.type in UNSIGNED:
        return whole(UNSIGNED[field.type], signed=False)
    if field.type == F.TYPE_ENUM:
        assert field.enum_type is not None
        named = st.sampled_from(sorted(field.enum_type.values_by_number))
        only_named = field.enum_type.is_closed or field.enum_type.full_name == "google.protobuf.NullValue"
        return named if only_named else named | st.integers(-(1 << 31), (1 << 31) - 1)
    others: dict[int, st.SearchStrategy[Any]] = {
        F.TYPE_DOUBLE: st.floats(allow_nan=False) | st.just(math.nan),
        F.TYPE_FLOAT: st.floats(-(2.0**126), 2.0**126, width=32) | st.sampled_from([math.nan, math.inf]),
        F.TYPE_BOOL: st.booleans(),
        F.TYPE_STRING: TEXT,
        F.TYPE_BYTES: st.binary(max_size=9),
    }
    return others[field.type]


def _nested_json(message: Any, value: Any) -> None:
    """Sets a Value."""
    if value is None:
        message.null_value = 0
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, float):
        message.number_value = value
    elif isinstance(value, list):
        message.list_value.SetInParent()
        for item in value:
            _nested_json(message.list_value.values.add(), item)
    else:
        message.struct_value.SetInParent()
        for key, item in value.items():
            _nested_json(message.struct_value.fields[key], item)


def _value(draw: Callable[..., Any], message: Any) -> None:
    _nested_json(message, draw(JSON))


def _struct(draw: Callable[..., Any], message: Any) -> None:
    for key, item in draw(st.dictionaries(TEXT, JSON, max_size=3)).items():
        _nested_json(message.fields[key], item)


def _list(draw: Callable[..., Any], message: Any) -> None:
    for item in draw(st.lists(JSON, max_size=3)):
        _nested_json(message.values.add(), item)


def _timestamp(draw: Callable[..., Any], message: Any) -> None:
    message.seconds = draw(st.integers(-62_135_596_800, 253_402_300_799))
    message.nanos = draw(st.sampled_from([0, 5_000_000, 5_000, 5]) | st.integers(0, 999_999_999))


def _duration(draw: Callable[..., Any], message: Any) -> None:
    sign = draw(st.sampled_from([1, -1]))
    message.seconds = sign * draw(st.integers(0, 315_575_999_999))
    message.nanos = sign * draw(st.sampled_from([0, 5_000_000, 5_000, 5]) | st.integers(0, 999_999_999))


def _mask(draw: Callable[..., Any], message: Any) -> None:
    message.paths.extend(draw(st.lists(st.from_regex(r"[a-z]+(_[a-z]+){0,2}(\.[a-z]+)?", fullmatch=True), max_size=3)))


def _any(draw: Callable[..., Any], message: Any) -> None:
    held = draw(st.sampled_from(["google.protobuf.Duration", "google.protobuf.Value", "everything.v1.Scalars", ""]))
    if held:
        inner = draw(messages(message.DESCRIPTOR.file.pool.FindMessageTypeByName(held)))
        message.type_url, message.value = f"type.example.com/{held}", inner.SerializeToString(deterministic=True)


WELL_KNOWN = {
    "google.protobuf.Value": _value,
    "google.protobuf.Struct": _struct,
    "google.protobuf.ListValue": _list,
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.FieldMask": _mask,
    "google.protobuf.Any": _any,
}


@st.composite
def messages(draw: Callable[..., Any], kind: Descriptor, depth: int = 3) -> Message:
    message = GetMessageClass(kind)()
    _fill(draw, message, depth)
    return message


def _fill(draw: Callable[..., Any], message: Any, depth: int) -> None:
    kind = message.DESCRIPTOR
    if kind.full_name in WELL_KNOWN:
        WELL_KNOWN[kind.full_name](draw, message)
        return
    chosen = {oneof.name: draw(st.sampled_from([*oneof.fields, None])) for oneof in kind.oneofs}
    for field in kind.fields:
        if field.containing_oneof is not None and chosen[field.containing_oneof.name] is not field:
            continue
        if field.is_required or (depth and draw(st.integers(0, 2))):
            _set(draw, message, field, depth - 1)


def _set(draw: Callable[..., Any], message: Any, field: FieldDescriptor, depth: int) -> None:
    target = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        for name in draw(st.lists(scalars(key), max_size=2)):
            if value.message_type is None:
                target[name] = draw(scalars(value))
            else:
                _fill(draw, target[name], depth)
    elif field.is_repeated:
        for _ in range(draw(st.integers(0, 2))):
            if field.message_type is None:
                target.append(draw(scalars(field)))
            else:
                _fill(draw, target.add(), depth)
    elif field.message_type is None:
        setattr(message, field.name, draw(scalars(field)))
    else:
        target.SetInParent()
        _fill(draw, target, depth)


def same(one: Message, other: Message) -> bool:
    """Equal byte for byte, so that NaN equals NaN."""
    first, second = (message.SerializePartialToString(deterministic=True) for message in (one, other))
    return first == second
