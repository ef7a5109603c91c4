"""Writes the decoder of one message."""

from __future__ import annotations

import keyword
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor

from controlplane.gateway.generate.api import Api, enum_of, is_map, key_field, local, message_of, value_field
from controlplane.gateway.generate.text import MESSAGES, NULL, VALUE, F, Names, attribute, is_wrapper

_CONVERT: Final = {
    F.TYPE_STRING: "string",
    F.TYPE_BYTES: "octets",
    F.TYPE_BOOL: "boolean",
    F.TYPE_FLOAT: "single",
    F.TYPE_DOUBLE: "double",
}
# The common case is checked in place, the conversion is for all others.
_PLAIN: Final = {"string": "str", "boolean": "bool", "integer": "int"}


def json_names(field: FieldDescriptor) -> tuple[str, ...]:
    """Its spellings in JSON, the field's own name first."""
    return (field.name,) if field.json_name == field.name else (field.name, field.json_name)


class Reader:
    """`decode_X(j, m, at, faults)` of a message."""

    def __init__(self, api: Api, names: Names, message: Descriptor) -> None:
        self._names = names
        self._message = message
        self._recursive = message.full_name in api.recursive
        self._oneofs: list[OneofDescriptor] = [oneof for oneof in message.oneofs if len(oneof.fields) > 1]

    def decoder(self) -> str:
        name = local(self._message)
        head = f"\ndef decode_{name}(j: Any, m: Any, at: str, faults: Faults) -> None:\n"
        if is_wrapper(self._message):
            return head + "\n".join(self._wrapper()) + "\n"
        lines = ["    if type(j) is not dict:", '        faults.add(at, "must be an object")', "        return"]
        if self._recursive:
            lines += [
                '    if at.count("/") >= DEEPEST:',
                '        faults.add(at, "is nested too deeply")',
                "        return",
            ]
        lines += ["    n = 0", *(f'    one{index} = ""' for index in range(len(self._oneofs)))]
        for field in self._message.fields:
            lines += self._field(field)
        lines += ["    if n != len(j):", f"        check_keys(j, FIELDS_{name}, at, faults)"]
        for field in self._message.fields:
            if field.is_required:
                lines += [
                    f'    if not m.HasField("{field.name}"):',
                    f'        faults.add(at + "/{field.name}", "is required")',
                ]
        spellings = {spelling: field.name for field in self._message.fields for spelling in json_names(field)}
        return f"\nFIELDS_{name}: dict[str, str] = {spellings!r}\n\n" + head + "\n".join(lines) + "\n"

    def convert(self, field: FieldDescriptor) -> str:
        """Name of what makes a field value of a JSON value."""
        if field.type == F.TYPE_ENUM:
            return self._names.of("decode", enum_of(field))
        return _CONVERT.get(field.type, "integer")

    def _wrapper(self) -> list[str]:
        convert = self.convert(self._message.fields_by_name["value"])
        return [
            "    try:",
            f"        m.value = {convert}(j)",
            "    except WRONG as error:",
            "        faults.refused(at, error)",
        ]

    def _field(self, field: FieldDescriptor) -> list[str]:
        lines = [*_lookup(field), "        n += 1"]
        for index, oneof in enumerate(self._oneofs):
            if field.containing_oneof is not None and field.containing_oneof.name == oneof.name:
                lines += [
                    f"        if one{index}:",
                    f'            faults.add(step(at, k), "cannot be there with " + one{index})',
                    f"        one{index} = k",
                ]
        return [*lines, *self._value(field)]

    def _value(self, field: FieldDescriptor) -> list[str]:
        target, inner = attribute("m", field), value_field(field)
        is_message, below = inner.type in MESSAGES, _below(field)
        how = self._names.of("decode", message_of(inner)) if is_message else self.convert(inner)
        if is_map(field):
            key = _key(key_field(field))
            kind = "message" if is_message else "scalar"
            return [f"        decode_{kind}_map(v, {target}, {key}, {how}, {below}, faults)"]
        if field.is_repeated:
            kind = "messages" if is_message else "scalars"
            if how == "string":
                return [f"        decode_strings(v, {target}, {below}, faults)"]
            return [f"        decode_{kind}(v, {target}, {how}, {below}, faults)"]
        if is_message:
            return [
                f"        inner = {target}",
                "        inner.SetInParent()",
                f"        {how}(v, inner, {below}, faults)",
            ]
        return _scalar(field, how)


def _below(field: FieldDescriptor) -> str:
    """The pointer of a field; only a name in JSON that somebody chose may need escapes."""
    return "step(at, k)" if {"/", "~"} & set("".join(json_names(field))) else 'f"{at}/{k}"'


def _lookup(field: FieldDescriptor) -> list[str]:
    """Looks for the field; `k` is the spelling that was found."""
    first, *others = json_names(field)
    null_counts = not field.is_repeated and (
        (field.message_type and field.message_type.full_name == VALUE)
        or (field.enum_type and field.enum_type.full_name == NULL)
    )
    nothing, default = ("ABSENT", ", ABSENT") if null_counts else ("None", "")
    if not others:
        return [f'    if (v := j.get(k := "{first}"{default})) is not {nothing}:']
    return [
        f'    if (v := j.get(k := "{first}"{default})) is {nothing}:',
        f"        v = j.get(k := {others[0]!r}{default})",
        f"    if v is not {nothing}:",
    ]


def _scalar(field: FieldDescriptor, convert: str) -> list[str]:
    value = f"v if type(v) is {_PLAIN[convert]} else {convert}(v)" if convert in _PLAIN else f"{convert}(v)"
    keyword_name = keyword.iskeyword(field.name)
    assign = f'setattr(m, "{field.name}", {value})' if keyword_name else f"m.{field.name} = {value}"
    return [
        "        try:",
        f"            {assign}",
        "        except WRONG as error:",
        "            faults.wrong(at, k, error)",
    ]


def _key(key: FieldDescriptor) -> str:
    if key.type == F.TYPE_STRING:
        return "string"
    return "key_boolean" if key.type == F.TYPE_BOOL else "integer"
