"""A ticket's input against the JSON Schema that its agent's manifest declares.

Schemas are published by people and applied in the store's writer: regular expressions are matched in linear time, and
the work on one input is bounded, so that no schema can hold the writer up.
"""

from __future__ import annotations

import json
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
# In rules applied, each a few microseconds.
MAX_WORK: Final = 50_000
# Following a reference takes as long as many other rules; checking a schema takes milliseconds per object in it.
_HEAVY: Final = {"$ref": 10, "$dynamicRef": 10}
_SCHEMA_OBJECTS: Final = 500
_SCHEMA_DEPTH: Final = 64
_Rule = Callable[..., Iterable[ValidationError] | None]
_left: ContextVar[list[int]] = ContextVar("work that may still be done")


class TooLongError(Exception):
    """The schema asks for more work than any input is worth."""


def check_input(agent: Agent, given: Mapping[str, Any]) -> tuple[Violation, ...]:
    """Return what is wrong with the input, by JSON pointers into it; empty when it fits."""
    validator = _validator(agent)
    _left.set([MAX_WORK])
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
        if _objects(schema, _SCHEMA_DEPTH) > _SCHEMA_OBJECTS:
            return f": it has more than {_SCHEMA_OBJECTS} objects"
        Draft202012Validator.check_schema(schema)
        _check_regexes(schema, ())
    except SchemaError as error:
        return f"{pointer(error.absolute_path)}: {_text(error)}"
    return ""


def pointer(path: Iterable[str | int]) -> str:
    """Write a path as a JSON pointer (RFC 6901); the whole document is the empty string."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _text(fault: ValidationError | SchemaError) -> str:
    return fault.message if len(fault.message) <= MAX_TEXT else fault.message[:MAX_TEXT] + "…"


def _validator(agent: Agent) -> Any:
    """Made once while it is in use, which is far longer than it takes to apply."""
    known = _validators.get(agent.name)
    if known is None or known.schema != agent.input_schema:
        if len(_validators) >= _MOST_VALIDATORS:
            _validators.clear()
        known = _validators[agent.name] = _Validator(agent.input_schema, registry=_nowhere())
    return known


def _nowhere() -> Registry[Any]:
    """Return a registry that fetches nothing: a schema may refer to itself only."""
    return Registry()


def _objects(value: object, depth: int) -> int:
    """How many there are, each pattern counting as one; SchemaError for what is nested too deeply."""
    if depth == 0:
        raise SchemaError(f"nested deeper than {_SCHEMA_DEPTH} levels")
    if isinstance(value, list):
        return sum(_objects(each, depth - 1) for each in value)
    if not isinstance(value, Mapping):
        return 0
    patterns = value.get("patternProperties")
    more = len(patterns) if isinstance(patterns, Mapping) else 0
    return 1 + more + sum(_objects(each, depth - 1) for each in value.values())


def _check_regexes(value: object, path: tuple[str | int, ...]) -> None:
    """`SchemaError` with its place for a pattern that only backtracking could match."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            _check_regexes(each, (*path, index))
    if not isinstance(value, Mapping):
        return
    patterns = value.get("patternProperties")
    named = [value.get("pattern"), *(patterns if isinstance(patterns, Mapping) else ())]
    for pattern in (each for each in named if isinstance(each, str)):
        try:
            regexes.check(pattern)
        except regexes.BadRegexError as error:
            raise SchemaError(str(error), path=path) from None
    if isinstance(value.get("unevaluatedProperties"), bool | Mapping):
        raise SchemaError("unevaluatedProperties is not supported; use additionalProperties", path=path)
    for name, each in value.items():
        _check_regexes(each, (*path, name))


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not regexes.found(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, Mapping):
        return
    _spend(len(patterns) * len(instance) // 8)
    for pattern, schema in patterns.items():
        for name, value in instance.items():
            if regexes.found(pattern, name):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, rule: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, Mapping):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    _spend(len(patterns) * len(instance) // 8)
    extras = [
        name for name in instance if name not in known and not any(regexes.found(each, name) for each in patterns)
    ]
    if isinstance(rule, Mapping):
        for name in extras:
            yield from validator.descend(instance[name], rule, path=name)
    elif not rule and extras:
        names = ", ".join(map(repr, extras[:MAX_FAULTS]))
        yield ValidationError(f"Additional properties are not allowed ({names} unexpected)")


def _enum(validator: Any, values: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    _spend(len(values) // 64)  # a comparison is cheap beside a rule
    yield from Draft202012Validator.VALIDATORS["enum"](validator, values, instance, schema)


def _unique_items(_validator: Any, rule: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """Each item is written once; comparing every one with every other takes the square of their number."""
    if not rule or not isinstance(instance, list):
        return
    if len({json.dumps(each, sort_keys=True) for each in instance}) < len(instance):
        yield ValidationError("items are there more than once")


def _spend(work: int) -> None:
    left = _left.get()
    left[0] -= work
    if left[0] < 0:
        raise TooLongError


def _counted(name: str, rule: _Rule) -> _Rule:
    work = _HEAVY.get(name, 1)

    def apply(*arguments: Any) -> Iterator[ValidationError]:
        _spend(work)
        yield from rule(*arguments) or ()

    return apply


_OURS: Final[Mapping[str, _Rule]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "enum": _enum,
    "uniqueItems": _unique_items,
}
_RULES: Final = {name: _counted(name, rule) for name, rule in {**Draft202012Validator.VALIDATORS, **_OURS}.items()}
_untyped_extend: Final[Any] = extend
_Validator: Final[Any] = _untyped_extend(Draft202012Validator, _RULES)
_MOST_VALIDATORS: Final = 256
_validators: Final[dict[str, Any]] = {}
