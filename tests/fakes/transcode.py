"""A call as the HTTP request that google.api.http says it is, made without any code of the gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from google.api import annotations_pb2
from google.protobuf import descriptor_pool, json_format
from google.protobuf.message import Message


def transcoded(method: str, verb: str, template: str, request: Message) -> tuple[str, list[tuple[str, str]], Any]:
    """Path, query, and JSON of the body (None: it has none), by the rule of the full method name with this template.

    Templates with variables of one segment only.
    """
    rest: dict[str, Any] = json_format.MessageToDict(request, preserving_proto_field_name=True)
    path = re.sub(r"\{(\w+)\}", lambda found: quote(str(rest.pop(found[1])), safe=""), template)
    body = body_of(method, verb, template)
    if body == "*":
        return path, [], rest
    content = rest.pop(body, {}) if body else None
    return path, list(flat(rest)), content


def body_of(method: str, verb: str, template: str) -> str:
    options = descriptor_pool.Default().FindMethodByName(method).GetOptions()
    rule = options.Extensions[annotations_pb2.http]
    for each in (rule, *rule.additional_bindings):
        if getattr(each, verb.lower()) == template:
            return str(each.body)
    raise LookupError(f"{method} has no rule for {verb} {template}")


def flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Pairs of a query: nested fields by dotted names, lists by repetition."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
            continue
        for each in value if isinstance(value, list) else [value]:
            yield prefix + name, str(each).lower() if isinstance(each, bool) else str(each)
