"""google.api.http rules of an API, checked: what grpc-gateway refuses is refused here too, and what is ambiguous."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from controlplane.gateway.generate.api import HTTP, Api, Refusal, message_of
from controlplane.gateway.generate.kinds import ANY, WELL_KNOWN, is_wrapper
from controlplane.gateway.template import BadTemplate, Template, parse_template

NO_BODY: Final = frozenset({"GET", "DELETE"})
_MASK: Final = "google.protobuf.FieldMask"
_IN_BODIES_ONLY: Final = frozenset(
    {ANY, "google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue", "google.protobuf.Empty"}
)


@dataclass(frozen=True, slots=True)
class HttpBinding:
    """One way to call a method. `body` and `response_body` are as the rule has them, `index` counts from 0."""

    method: MethodDescriptor
    index: int
    verb: str
    path: str
    template: Template
    body: str
    response_body: str

    @property
    def bound(self) -> Sequence[str]:
        """Field paths that the query cannot set."""
        return [variable.name for variable in self.template.variables] + ([self.body] if self.body else [])

    @property
    def mask(self) -> str:
        """The field mask that is filled from the body of a PATCH, or ""."""
        masks = [field.name for field in self.method.input_type.fields if _is(field, _MASK) and not field.is_repeated]
        field = self.method.input_type.fields_by_name.get(self.body)
        patches = self.verb == "PATCH" and field is not None and field.message_type is not None
        return masks[0] if patches and len(masks) == 1 and not has_fields_only_in(field) else ""


def has_fields_only_in(field: FieldDescriptor | None) -> bool:
    """Whether the field's JSON has no keys that are field names."""
    return field is None or field.is_repeated or message_of(field).full_name in {*WELL_KNOWN, ANY}


def bindings(api: Api) -> Sequence[HttpBinding]:
    """All of them in the order of their methods; `Refusal` with every fault."""
    found: list[HttpBinding] = []
    faults: list[str] = []
    for method in api.methods:
        rule = api.option(method, HTTP)
        for index, each in enumerate(_rules(rule) if rule is not None else ()):
            try:
                found.append(_binding(method, index, each))
                if each.additional_bindings and each is not rule:
                    raise _fault(method, "has additional_bindings inside of additional_bindings")
            except Refusal as refusal:
                faults += refusal.faults
    faults += _ambiguities(found)
    if faults:
        raise Refusal(faults)
    return found


def unbound(api: Api) -> Sequence[MethodDescriptor]:
    """The methods that HTTP does not reach."""
    return [method for method in api.methods if api.option(method, HTTP) is None]


def where(method: MethodDescriptor) -> str:
    return f"{method.containing_service.file.name}: {method.full_name}"


def _rules(rule: Any) -> Iterator[Any]:
    yield rule
    yield from rule.additional_bindings


def _fault(method: MethodDescriptor, text: str) -> Refusal:
    return Refusal([f"{where(method)}: {text}"])


def _binding(method: MethodDescriptor, index: int, rule: Any) -> HttpBinding:
    verb, path = _pattern(method, rule)
    try:
        template = parse_template(path)
    except BadTemplate as fault:
        raise _fault(method, f"the template {path!r} {fault}") from None
    for variable in template.variables:
        _check_variable(method, path, variable.name)
    if rule.body and verb in NO_BODY:
        raise _fault(method, f"a {verb} has no body, and body is {rule.body!r}")
    if rule.body not in {"", "*"}:
        _check_body(method, rule.body, template)
    if rule.response_body and rule.response_body not in method.output_type.fields_by_name:
        raise _fault(method, f"response_body {rule.response_body!r} is no field of {method.output_type.full_name}")
    return HttpBinding(method, index, verb, path, template, rule.body, rule.response_body)


def _pattern(method: MethodDescriptor, rule: Any) -> tuple[str, str]:
    kind = rule.WhichOneof("pattern")
    if kind is None:
        raise _fault(method, "the rule has no pattern: get, put, post, delete, patch or custom")
    if kind != "custom":
        return kind.upper(), getattr(rule, kind)
    verb = rule.custom.kind
    if verb != "*" and not (verb.isascii() and verb.replace("-", "").isalpha()):
        raise _fault(method, f"the custom kind {verb!r} is no HTTP method")
    return verb, rule.custom.path


def _check_variable(method: MethodDescriptor, path: str, name: str) -> None:
    field = None
    message: Descriptor | None = method.input_type
    for part in name.split("."):
        if message is None or (field is not None and field.is_repeated):
            raise _fault(method, f"the variable {name!r} of {path!r} leads through something that is no message")
        field = message.fields_by_name.get(part)
        if field is None:
            raise _fault(method, f"the variable {name!r} of {path!r} is no field of {method.input_type.full_name}")
        message = field.message_type
    assert field is not None
    if field.is_repeated:
        raise _fault(method, f"the variable {name!r} of {path!r} is a repeated field")
    if message is not None and (not (message.full_name in WELL_KNOWN or is_wrapper(message)) or _free(message)):
        raise _fault(method, f"the variable {name!r} of {path!r} is a message")


def _free(message: Descriptor) -> bool:
    return message.full_name in _IN_BODIES_ONLY


def _check_body(method: MethodDescriptor, body: str, template: Template) -> None:
    if "." in body or body not in method.input_type.fields_by_name:
        raise _fault(method, f"body {body!r} is no field of {method.input_type.full_name}")
    if any(variable.name == body for variable in template.variables):
        raise _fault(method, f"body {body!r} is a variable of the path too")


def _ambiguities(found: Sequence[HttpBinding]) -> Iterator[str]:
    first: dict[object, HttpBinding] = {}
    for binding in found:
        other = first.setdefault((binding.verb, binding.template.shape), binding)
        if other is not binding:
            yield (
                f"{where(binding.method)}: {binding.verb} {binding.path} is as specific as "
                f"{other.path} of {other.method.full_name}"
            )


def _is(field: FieldDescriptor, name: str) -> bool:
    return field.message_type is not None and field.message_type.full_name == name


def in_text(field: FieldDescriptor) -> bool:
    """Whether a message field has JSON that is a string, so that it can stand in a query."""
    message = message_of(field)
    return (is_wrapper(message) or message.full_name in WELL_KNOWN) and not _free(message)
