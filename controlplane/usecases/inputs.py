"""A ticket's input against the JSON Schema that its agent's manifest declares.

Schemas are published by people and applied in the store's writer: regular expressions are matched in linear time, and
the number of rules applied to one input is bounded, so that no schema can hold the writer up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from controlplane.domain.agent import Agent
from controlplane.errors import Violation
from controlplane.usecases import regexes

MAX_FAULTS: Final = 20
MAX_TEXT: Final = 300
MAX_RULES: Final = 50_000
_SCHEMA_DEPTH: Final = 64
_Rule = Callable[..., Iterable[ValidationError] | None]
_left: ContextVar[list[int]] = ContextVar("rules that may still be applied")


class TooLongError(Exception):
    """The schema asks for more work than any input is worth."""


def check_input(agent: Agent, given: Mapping[str, Any]) -> tuple[Violation, ...]:
    """Return what is wrong with the input, by JSON pointers into it; empty when it fits."""
    validator = _Validator(agent.input_schema, registry=_nowhere())
    _left.set([MAX_RULES])
    try:
        faults = list(islice(validator.iter_errors(given), MAX_FAULTS))
    except Unresolvable as error:
        return (Violation("", f"the schema of agent {agent.name} refers to {error}, which it does not hold"),)
    except (RecursionError, ArithmeticError, TooLongError, regexes.BadRegexError):
        return (
            Violation("", f"the schema of agent {agent.name} cannot be applied: it goes round in circles or fails"),
        )
    return tuple(Violation(pointer(fault.absolute_path), _text(fault)) for fault in faults)


def schema_fault(schema: Mapping[str, Any]) -> str:
    """Return what is wrong with an input schema, after a JSON pointer to it; empty when it is one."""
    try:
        Draft202012Validator.check_schema(schema)
        _check_regexes(schema, (), _SCHEMA_DEPTH)
    except SchemaError as error:
        return f"{pointer(error.absolute_path)}: {_text(error)}"
    except (regexes.BadRegexError, RecursionError) as error:
        return f": {error}"
    return ""


def pointer(path: Iterable[str | int]) -> str:
    """Write a path as a JSON pointer (RFC 6901); the whole document is the empty string."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _text(fault: ValidationError | SchemaError) -> str:
    return fault.message if len(fault.message) <= MAX_TEXT else fault.message[:MAX_TEXT] + "…"


def _nowhere() -> Registry[Any]:
    """Return a registry that fetches nothing: a schema may refer to itself only."""
    return Registry()


def _check_regexes(value: object, path: tuple[str | int, ...], depth: int) -> None:
    """`BadRegexError` or, for what would be matched by backtracking after all, `SchemaError`, with its place."""
    if depth == 0:
        raise SchemaError(f"nested deeper than {_SCHEMA_DEPTH} levels", path=path[:8])
    if isinstance(value, list):
        for index, each in enumerate(value):
            _check_regexes(each, (*path, index), depth - 1)
    if not isinstance(value, Mapping):
        return
    patterns = value.get("patternProperties")
    named = [value.get("pattern"), *(patterns if isinstance(patterns, Mapping) else ())]
    for pattern in named:
        try:
            regexes.check(pattern) if isinstance(pattern, str) else None
        except regexes.BadRegexError as error:
            raise SchemaError(str(error), path=path) from None
    if isinstance(value.get("unevaluatedProperties"), bool | Mapping):
        raise SchemaError("unevaluatedProperties is not supported; use additionalProperties", path=path)
    for name, each in value.items():
        _check_regexes(each, (*path, name), depth - 1)


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not regexes.found(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, Mapping):
        return
    for pattern, schema in patterns.items():
        for name, value in instance.items():
            if regexes.found(pattern, name):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, rule: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, Mapping):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extras = [
        name for name in instance if name not in known and not any(regexes.found(each, name) for each in patterns)
    ]
    if isinstance(rule, Mapping):
        for name in extras:
            yield from validator.descend(instance[name], rule, path=name)
    elif not rule and extras:
        names = ", ".join(map(repr, extras[:MAX_FAULTS]))
        yield ValidationError(f"Additional properties are not allowed ({names} unexpected)")


def _counted(rule: _Rule) -> _Rule:
    def apply(*arguments: Any) -> Iterator[ValidationError]:
        left = _left.get()
        left[0] -= 1
        if left[0] < 0:
            raise TooLongError
        yield from rule(*arguments) or ()

    return apply


_OURS: Final[Mapping[str, _Rule]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
}
_RULES: Final = {name: _counted(rule) for name, rule in {**Draft202012Validator.VALIDATORS, **_OURS}.items()}
_untyped_extend: Final[Any] = extend
_Validator: Final[Any] = _untyped_extend(Draft202012Validator, _RULES)
