"""Writes the route table."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.gateway.generate.api import Api
from controlplane.gateway.generate.bindings import HttpBinding
from controlplane.gateway.generate.modules import module
from controlplane.gateway.generate.text import Names, attribute


def routes_module(api: Api, bindings: Sequence[HttpBinding], *, deep_masks: bool) -> str:
    """`ROUTES`, and a function for each distinct answer that is a field of its message."""
    names = Names(api)
    functions: dict[str, str] = {}
    rows = [_route(names, binding, functions, deep_masks=deep_masks) for binding in bindings]
    body = "".join(functions.values()) + "ROUTES = (\n" + "".join(rows) + ")\n"
    neighbours = ["from .codecs import BY_NAME", "from .fields import MESSAGES"]
    if names.modules:
        neighbours.append(f"from .codecs import {', '.join(sorted(names.modules))}")
    if "ANY." in body:
        neighbours.append("from .codecs.any_types import ANY")
    return module("protos", body, neighbours)


def _route(names: Names, binding: HttpBinding, functions: dict[str, str], *, deep_masks: bool) -> str:
    method = binding.method
    given = [f'BY_NAME["{method.input_type.full_name}"]', f'"{method.input_type.full_name}"', "MESSAGES"]
    if binding.bound:
        given.append(f"bound=frozenset({sorted(binding.bound)!r})")
    given += [f'body="{binding.body}"'] if binding.body else []
    given += [f'mask="{binding.mask}"', f"deep={deep_masks}"] if binding.mask else []
    encode = f'BY_NAME["{method.output_type.full_name}"].encode'
    if binding.response_body:
        encode = _answer(names, binding, functions)
    return (
        "    Route(\n"
        f'        "{method.full_name}",\n'
        f'        "{binding.verb}",\n'
        f"        {binding.path!r},\n"
        f"        client_streaming={bool(method.client_streaming)},\n"
        f"        server_streaming={bool(method.server_streaming)},\n"
        f"        decode=Binding({', '.join(given)}).decode,\n"
        f"        encode={encode},\n"
        f"        has_body={bool(binding.body)},\n"
        "    ),\n"
    )


def _answer(names: Names, binding: HttpBinding, functions: dict[str, str]) -> str:
    """Name of the function that encodes one field of the answer; an unset message is null."""
    method = binding.method
    field = method.output_type.fields_by_name[binding.response_body]
    name = f"answer_{method.full_name.replace('.', '_')}_{binding.index}"
    text = names.text(field, attribute("m", field))
    if field.has_presence and field.message_type is not None:
        text = f'{text} if m.HasField("{field.name}") else "null"'
    functions[name] = (
        f"\ndef {name}_text(m: Any) -> str:\n    return {text}\n\n\n"
        f"def {name}(m: Message) -> bytes:\n    return encoded({name}_text, m)\n\n"
    )
    return name
