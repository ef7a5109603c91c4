"""The OpenAPI 3.1 document."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from controlplane.gateway.generate.api import Api
from controlplane.gateway.generate.bindings import HttpBinding
from controlplane.gateway.generate.parameters import openapi_path, path_parameters, query_parameters
from controlplane.gateway.generate.schema import Schemas
from controlplane.gateway.generate.strict import POLICY

_VERBS: Final = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"})
_PUBLIC: Final = "ROLE_PUBLIC"
_SECURITY: Final[Mapping[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "Access token of a login."},
    "key": {"type": "http", "scheme": "bearer", "bearerFormat": "swm_...", "description": "API key."},
}
_ERROR: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "What every refusal and failure looks like.",
    "required": ["code", "message", "details", "request_id"],
    "properties": {
        "code": {"type": "string", "description": "Canonical code of gRPC.", "examples": ["INVALID_ARGUMENT"]},
        "message": {"type": "string", "description": "For people."},
        "details": {
            "type": "array",
            "description": "Messages of google.rpc: BadRequest, RetryInfo, ErrorInfo.",
            "items": {"type": "object", "properties": {"@type": {"type": "string"}}},
        },
        "request_id": {"type": "string", "description": "Names the call in logs and audit."},
    },
}
_KEY: Final[Mapping[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key with the same request gives the same answer, and acts once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def openapi(api: Api, bindings: Sequence[HttpBinding], title: str) -> str:
    """The document as JSON; HTTP methods that OpenAPI does not know are left out."""
    schemas = Schemas(api)
    paths: dict[str, dict[str, Any]] = {}
    for binding in bindings:
        if binding.verb in _VERBS:
            _add(paths, binding, _operation(api, binding, schemas))
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": _version(api)},
        "servers": [{"url": "/"}],
        "tags": [_tag(api, service) for service in api.services if any(b.method in service.methods for b in bindings)],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.components | {"Error": _ERROR},
            "responses": {"Error": {"description": "It was refused or failed.", "content": _json_of("Error")}},
        },
    }
    if _has_policies(api):
        document["components"]["securitySchemes"] = _SECURITY
        document["security"] = [{"bearer": []}, {"key": []}]
    return json.dumps(document, indent=1) + "\n"


def _add(paths: dict[str, dict[str, Any]], binding: HttpBinding, operation: dict[str, Any]) -> None:
    """Under its path; where templates differ in patterns only, OpenAPI needs other names of the variables."""
    path, verb = openapi_path(binding), binding.verb.lower()
    number = 2
    while verb in paths.get(path, {}):
        path = re.sub(r"\{([^{}]+?)(?:_\d+)?\}", rf"{{\1_{number}}}", openapi_path(binding))
        for parameter in operation["parameters"]:
            if parameter["in"] == "path":
                parameter["name"] = f"{re.sub(r'_[0-9]+$', '', parameter['name'])}_{number}"
        number += 1
    paths.setdefault(path, {})[verb] = operation


def _operation(api: Api, binding: HttpBinding, schemas: Schemas) -> dict[str, Any]:
    method = binding.method
    policy = api.option(method, POLICY)
    comment = api.comment(method)
    label = _label(api, method.containing_service)
    suffix = f"_{binding.index + 1}" if binding.index else ""
    operation: dict[str, Any] = {
        "operationId": f"{label.replace('.', '_')}_{method.name}{suffix}",
        "tags": [label],
        "summary": _summary(method, comment),
    }
    if comment:
        operation["description"] = comment
    operation["parameters"] = [
        *path_parameters(binding, schemas),
        *query_parameters(api, binding, schemas),
        *([dict(_KEY)] if policy is not None and policy.idempotent else []),
    ]
    if binding.body:
        operation["requestBody"] = _body(binding, schemas)
    operation["responses"] = _responses(binding, schemas)
    if policy is not None:
        role = policy.DESCRIPTOR.fields_by_name["role"].enum_type.values_by_number[policy.role].name
        operation["x-least-role"] = role.removeprefix("ROLE_").lower()
        operation |= {"security": []} if role == _PUBLIC else {}
    return operation


def _summary(method: MethodDescriptor, comment: str) -> str:
    """The first sentence of the comment, or the words of the name."""
    if first := re.split(r"(?<=[.!?])\s|\n\n", comment)[0].replace("\n", " ").strip():
        return first.removesuffix(".")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", method.name).capitalize()


def _body(binding: HttpBinding, schemas: Schemas) -> dict[str, Any]:
    message = binding.method.input_type
    if binding.body != "*":
        schema = schemas.of_field(message.fields_by_name[binding.body])
        return {"required": True, "content": {"application/json": {"schema": schema}}}
    bound = {variable.name for variable in binding.template.variables}
    schema = schemas.object(message, without=bound) if bound and message.fields else schemas.of_message(message)
    return {"required": "required" in schema, "content": {"application/json": {"schema": schema}}}


def _responses(binding: HttpBinding, schemas: Schemas) -> dict[str, Any]:
    method = binding.method
    failed = {"default": {"$ref": "#/components/responses/Error"}}
    if method.client_streaming:
        return {"101": {"description": "A WebSocket; each frame is one message, as JSON."}} | failed
    message = method.output_type
    schema = schemas.of_message(message)
    if binding.response_body:
        field = message.fields_by_name[binding.response_body]
        schema = schemas.of_field(field)
        if field.has_presence and field.message_type is not None:
            schema = {"anyOf": [schema, {"type": "null"}]}
    kind = "application/x-ndjson" if method.server_streaming else "application/json"
    said = "One message a line, as they come." if method.server_streaming else "It was done."
    return {"200": {"description": said, "content": {kind: {"schema": schema}}}} | failed


def _label(api: Api, service: ServiceDescriptor) -> str:
    """The name of a service, in full where another is called the same, as in another version of its package."""
    alike = sum(each.name == service.name for each in api.services)
    return str(service.name if alike == 1 else service.full_name)


def _tag(api: Api, service: ServiceDescriptor) -> dict[str, Any]:
    comment = api.comment(service)
    return {"name": _label(api, service)} | ({"description": comment} if comment else {})


def _json_of(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _version(api: Api) -> str:
    """The version that the packages carry, such as v1."""
    found = {
        match[0] for name in api.targets if (match := re.search(r"v\d+\w*", api.pool.FindFileByName(name).package))
    }
    return max(found, default="v1")


def _has_policies(api: Api) -> bool:
    return any(api.option(method, POLICY) is not None for method in api.methods)
