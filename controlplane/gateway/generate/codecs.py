"""Writes the codecs: one module for each file, straight-line code for each message."""

from __future__ import annotations

import json
from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from controlplane.gateway.generate.api import Api, local
from controlplane.gateway.generate.modules import module
from controlplane.gateway.generate.read import Reader
from controlplane.gateway.generate.text import (
    ANY,
    LONG,
    NULL,
    WELL_KNOWN,
    Names,
    attribute,
    has_own_json,
    is_wrapper,
)


def codec_modules(api: Api) -> Iterator[tuple[str, str]]:
    """Path and content of each module of `codecs/`."""
    yield "codecs/any_types.py", module("protos", "ANY = AnyTypes()\n")
    for file, name in api.modules.items():
        if content := _codecs(api, file):
            yield f"codecs/{name}.py", content
    yield "codecs/__init__.py", _table(api)


def _codecs(api: Api, file: str) -> str:
    names = Names(api, file)
    parts = [_enum(enum) for enum in api.enums if enum.file.name == file]
    for message in api.messages:
        if message.file.name == file and message.full_name not in WELL_KNOWN and message.full_name != ANY:
            parts += [_encoder(names, message), Reader(api, names, message).decoder()]
    if not parts:
        return ""
    neighbours = [f"from . import {name}" for name in sorted(names.modules)]
    if any("ANY." in part for part in parts):
        neighbours.append("from .any_types import ANY")
    return module(file, "\n".join(parts), neighbours)


def _enum(enum: EnumDescriptor) -> str:
    name = local(enum)
    if enum.full_name == NULL:
        return f"encode_{name} = null_text\ndecode_{name} = null_value\n"
    numbers = {value.name: value.number for value in enum.values}
    texts = {value.number: json.dumps(value.name) for value in reversed(enum.values)}  # the first of aliases
    check = "enum_closed" if enum.is_closed else "enum_open"
    return (
        f"NUMBERS_{name}: Mapping[str, int] = {numbers!r}\n"
        f"TEXT_{name}: Mapping[int, str] = {texts!r}\n\n\n"
        f"def encode_{name}(n: int) -> str:\n    return TEXT_{name}.get(n) or str(n)\n\n\n"
        f"def decode_{name}(v: Any) -> int:\n    return {check}(v, NUMBERS_{name})\n"
    )


def _encoder(names: Names, message: Descriptor) -> str:
    head = f"\ndef encode_{local(message)}(m: Any) -> str:\n"
    if is_wrapper(message):
        return head + f"    return {names.scalar_text(message.fields_by_name['value'], 'm.value')}\n"
    if not message.fields:
        return head + '    return "{}"\n'
    lines, always = [], ""
    for field in message.fields:
        if not field.has_presence:
            always += _always(names, field)
            continue
        lines += _flush(always)
        always = ""
        text = names.text(field, attribute("m", field))
        lines += [f'    if m.HasField("{field.name}"):', f"        text += ',\"{field.name}\":' + {text}"]
    lines += _flush(always)
    return head + '    text = ""\n' + "\n".join(lines) + '\n    return "{" + text[1:] + "}"\n'


def _flush(always: str) -> list[str]:
    return [f"    text += f'{always}'"] if always else []


def _always(names: Names, field: FieldDescriptor) -> str:
    """Part of an f-string between single quotes for a field that is always there."""
    value = attribute("m", field)
    if field.is_repeated:
        return f',"{field.name}":{{{names.text(field, value)}}}'
    if field.type in LONG:
        return f',"{field.name}":"{{{value}}}"'
    return f',"{field.name}":{{{names.text(field, value)}}}'


def _table(api: Api) -> str:
    names = Names(api)
    rows = []
    for message in api.messages:
        pair = f"{names.of('encode', message)}, {names.of('decode', message)}"
        rows.append(f'    "{message.full_name}": ({pair}, {has_own_json(message)}),\n')
    neighbours = [f"from . import {name}" for name in sorted(names.modules)]
    neighbours += ["from .any_types import ANY", "from ..messages import message_class"]
    body = (
        "_FUNCTIONS = {\n"
        + "".join(rows)
        + "}\n\nfor _name, (_encode, _decode, _own) in _FUNCTIONS.items():\n"
        + "    ANY.codecs[_name] = Codec(message_class(_name), _encode, _decode, _own)\n\n"
        + "BY_NAME: Mapping[str, Codec] = ANY.codecs\n"
        + "CODECS: Mapping[type[Message], Codec] = {codec.new: codec for codec in BY_NAME.values()}\n"
    )
    return module("protos", body, neighbours)
