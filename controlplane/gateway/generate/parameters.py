"""Parameters of an operation: what its path and its query take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from controlplane.gateway.generate.api import Api, is_map, message_of, value_field
from controlplane.gateway.generate.bindings import HttpBinding, in_text
from controlplane.gateway.generate.kinds import MESSAGES, WELL_KNOWN
from controlplane.gateway.generate.rules import is_required
from controlplane.gateway.generate.schema import Schemas
from controlplane.gateway.template import MANY, ONE, Variable


def path_parameters(binding: HttpBinding, schemas: Schemas) -> Iterator[dict[str, Any]]:
    for variable in binding.template.variables:
        schema = schemas.of_field(_field(binding.method.input_type, variable.name))
        given = {"name": variable.name, "in": "path", "required": True}
        if text := schema.pop("description", ""):
            given["description"] = text
        if variable.many:
            schema["pattern"] = _pattern(binding, variable)
        else:
            schema |= {"minLength": 1} if schema.get("type") == "string" else {}
        yield given | {"schema": schema}
    for number, _ in enumerate(_anonymous(binding), 1):
        yield {"name": f"segment_{number}", "in": "path", "required": True, "schema": {"type": "string"}}


def openapi_path(binding: HttpBinding) -> str:
    """The template with bare variables."""
    path = re.sub(r"\{([^{}=]+)(=[^{}]*)?\}", r"{\1}", binding.path)
    for number, _ in enumerate(_anonymous(binding), 1):
        path = re.sub(r"/\*\*?(?=[/:]|$)", f"/{{segment_{number}}}", path, count=1)
    return path


def query_parameters(api: Api, binding: HttpBinding, schemas: Schemas) -> Iterator[dict[str, Any]]:
    """All that neither path nor body sets, nested fields with dots."""
    if binding.body != "*":
        yield from _query(api, binding.method.input_type, (), frozenset(binding.bound), schemas)


def _query(
    api: Api, message: Descriptor, path: tuple[FieldDescriptor, ...], bound: frozenset[str], schemas: Schemas
) -> Iterator[dict[str, Any]]:
    for field in message.fields if message.full_name not in WELL_KNOWN else ():
        way = (*path, field)
        name = ".".join(each.name for each in way)
        value = value_field(field)
        if name in bound:
            continue
        if value.type not in MESSAGES or in_text(value):
            yield _parameter(name, schemas.of_field(field), required=not path and is_required(api, field), field=field)
        elif not field.is_repeated and message_of(field) not in [each.containing_type for each in way]:
            yield from _query(api, message_of(field), way, bound, schemas)


def _parameter(name: str, schema: dict[str, Any], *, required: bool, field: FieldDescriptor) -> dict[str, Any]:
    given: dict[str, Any] = {"name": name, "in": "query"}
    if required:
        given["required"] = True
    if text := schema.pop("description", ""):
        given["description"] = text
    if is_map(field):
        given |= {"style": "deepObject", "explode": True}
    return given | {"schema": schema}


def _field(message: Descriptor, dotted: str) -> FieldDescriptor:
    *way, last = dotted.split(".")
    for name in way:
        message = message_of(message.fields_by_name[name])
    return message.fields_by_name[last]


def _pattern(binding: HttpBinding, variable: Variable) -> str:
    words = {ONE: "[^/]+", MANY: ".*"}
    segments = binding.template.segments[variable.first : variable.end]
    return "^" + "/".join(words.get(segment, re.escape(segment)) for segment in segments) + "$"


def _anonymous(binding: HttpBinding) -> list[int]:
    """Wildcards outside of variables."""
    covered: set[int] = set()
    for variable in binding.template.variables:
        covered.update(range(variable.first, variable.end or len(binding.template.segments)))
    segments = enumerate(binding.template.segments)
    return [index for index, segment in segments if segment in {ONE, MANY} and index not in covered]
