"""Writes the route table."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.gateway.generate.bindings import HttpBinding
from controlplane.gateway.generate.modules import module


def routes_module(bindings: Sequence[HttpBinding], *, deep_masks: bool) -> str:
    """`ROUTES`."""
    rows = [_route(binding, deep_masks=deep_masks) for binding in bindings]
    neighbours = ["from .codecs import BY_NAME", "from .fields import MESSAGES"]
    return module("protos", "ROUTES = (\n" + "".join(rows) + ")\n", neighbours)


def _route(binding: HttpBinding, *, deep_masks: bool) -> str:
    method = binding.method
    given = [f'BY_NAME["{method.input_type.full_name}"]', f'"{method.input_type.full_name}"', "MESSAGES"]
    if binding.bound:
        given.append(f"bound=frozenset({sorted(binding.bound)!r})")
    given += [f'body="{binding.body}"'] if binding.body else []
    given += [f'mask="{binding.mask}"', f"deep={deep_masks}"] if binding.mask else []
    answer = f'BY_NAME["{method.output_type.full_name}"]'
    if binding.response_body:
        answer = f'BY_NAME.part("{method.output_type.full_name}", "{binding.response_body}")'
    return (
        "    Route(\n"
        f'        "{method.full_name}",\n'
        f'        "{binding.verb}",\n'
        f"        {binding.path!r},\n"
        f"        client_streaming={bool(method.client_streaming)},\n"
        f"        server_streaming={bool(method.server_streaming)},\n"
        f"        decode=Binding({', '.join(given)}).decode,\n"
        f"        encode={answer}.encode,\n"
        f"        has_body={bool(binding.body)},\n"
        "    ),\n"
    )
