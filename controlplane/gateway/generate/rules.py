"""protovalidate rules as JSON Schema, as far as it has a word for them."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from controlplane.gateway.generate.api import Api, enum_of

VALIDATE: Final = "buf.validate.field"
_FORMATS: Final = {
    "email": "email",
    "hostname": "hostname",
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "uri": "uri",
    "uuid": "uuid",
}
_NUMBERS: Final = ("int32", "uint32", "sint32", "fixed32", "sfixed32", "float", "double")
_BOUNDS: Final = {"gte": "minimum", "gt": "exclusiveMinimum", "lte": "maximum", "lt": "exclusiveMaximum"}
_SIZES: Final = {
    "string": {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"},
    "repeated": {"min_items": "minItems", "max_items": "maxItems", "unique": "uniqueItems"},
    "map": {"min_pairs": "minProperties", "max_pairs": "maxProperties"},
}
_LOWER: Final = frozenset({"minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum", "pattern"})


def rules_of(api: Api, field: FieldDescriptor) -> Any:
    """The field's `buf.validate.FieldRules`, or None."""
    return api.field_option(field, VALIDATE)


def is_required(api: Api, field: FieldDescriptor) -> bool:
    """Whether an input without it is refused."""
    rules = rules_of(api, field)
    return field.is_required or (rules is not None and rules.required)


def constrain(schema: dict[str, Any], rules: Any, field: FieldDescriptor) -> dict[str, Any]:
    """The schema of a field with its rules added, also those of elements, keys and values."""
    kind = rules.WhichOneof("type") if rules is not None else None
    if kind is None:
        return schema
    own = getattr(rules, kind)
    added = _sizes(own, _SIZES[kind]) if kind in _SIZES else {}
    if kind in _NUMBERS:
        added = _sizes(own, _BOUNDS)
    if kind == "string" and (form := next((name for name in _FORMATS if getattr(own, name)), "")):
        added["format"] = form
    if kind in {"string", *_NUMBERS} and getattr(own, "in"):
        added["enum"] = list(getattr(own, "in"))
    if kind == "enum" and own.not_in:
        names = enum_of(field).values_by_number
        added["not"] = {"enum": [names[number].name for number in own.not_in]}
    if rules.ignore:  # zero is allowed, or everything
        added = {word: value for word, value in added.items() if word not in _LOWER}
    return _elements(schema | added, kind, own, field)


def _sizes(own: Any, words: dict[str, str]) -> dict[str, Any]:
    return {word: getattr(own, rule) for rule, word in words.items() if own.HasField(rule)}


def _elements(schema: dict[str, Any], kind: str, own: Any, field: FieldDescriptor) -> dict[str, Any]:
    if kind == "repeated" and own.HasField("items"):
        schema["items"] = constrain(schema["items"], own.items, field)
    if kind == "map":
        assert field.message_type is not None
        entry = field.message_type.fields_by_name
        if own.HasField("keys"):
            schema["propertyNames"] = constrain({}, own.keys, entry["key"])
        if own.HasField("values"):
            schema["additionalProperties"] = constrain(schema["additionalProperties"], own.values, entry["value"])
    return schema
