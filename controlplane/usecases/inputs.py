"""A ticket's input against the JSON Schema that its agent's manifest declares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from controlplane.domain.agent import Agent
from controlplane.errors import Violation

MAX_FAULTS: Final = 20
MAX_TEXT: Final = 300


def check_input(agent: Agent, given: Mapping[str, Any]) -> tuple[Violation, ...]:
    """Return what is wrong with the input, by JSON pointers into it; empty when it fits."""
    validator = Draft202012Validator(agent.input_schema, registry=_nowhere())
    try:
        faults = list(islice(validator.iter_errors(given), MAX_FAULTS))
    except Unresolvable as error:
        return (Violation("", f"the schema of agent {agent.name} refers to {error}, which it does not hold"),)
    except (RecursionError, ArithmeticError, re.error):
        return (
            Violation("", f"the schema of agent {agent.name} cannot be applied: it goes round in circles or fails"),
        )
    return tuple(Violation(pointer(fault.absolute_path), _text(fault)) for fault in faults)


def schema_fault(schema: Mapping[str, Any]) -> str:
    """Return what is wrong with an input schema, after a JSON pointer to it; empty when it is one."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"{pointer(error.absolute_path)}: {_text(error)}"
    return ""


def pointer(path: Iterable[str | int]) -> str:
    """Write a path as a JSON pointer (RFC 6901); the whole document is the empty string."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _text(fault: ValidationError | SchemaError) -> str:
    return fault.message if len(fault.message) <= MAX_TEXT else fault.message[:MAX_TEXT] + "…"


def _nowhere() -> Registry[Any]:
    """Return a registry that fetches nothing: a schema may refer to itself only."""
    return Registry()
