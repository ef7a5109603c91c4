"""Workflows: manifests that name steps, each an agent run, and what it needs. Checked to the last field."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from controlplane.domain import dag
from controlplane.domain.manifest import (
    DESCRIPTION_LIMIT,
    IMAGE,
    NAME,
    VERSION,
    ManifestError,
    decode,
    matching,
    members,
    reference,
    text_of,
)

MANIFEST: Final = "workflow.json"
MOST_STEPS: Final = 16
MANIFEST_LIMIT: Final = 256 << 10
DEEPEST: Final = 32
_FIELDS: Final = ("name", "version", "description", "image", "steps")
_STEP_FIELDS: Final = ("name", "description", "agent", "needs", "input")


@dataclass(frozen=True, slots=True)
class WorkflowStep:
    """`agent` is `name` or `name@version`; a ticket's input for the step is merged over `input`."""

    name: str
    agent: str
    needs: tuple[str, ...] = ()
    input: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True, slots=True)
class Workflow:
    """`steps` stand in the order in which they run; `image` is empty when it is that of the agents."""

    name: str
    version: str
    description: str
    image: str
    steps: tuple[WorkflowStep, ...]
    digest: str = ""
    built_in: bool = False
    published_at: float = 0.0
    tenant_id: str = ""  # whose it is; empty: everybody's

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"


def load(text: bytes) -> Mapping[str, Any]:
    """The manifest in a file workflow.json, not yet checked. `ManifestError`."""
    value = decode(text)
    if not isinstance(value, dict):
        raise ManifestError("", "an object is expected")
    return value


def parse(manifest: object) -> Workflow:
    """The workflow that a decoded manifest describes. `ManifestError` names the first field that is wrong."""
    value = members(manifest, _FIELDS)
    workflow = Workflow(
        name=matching(value, "name", NAME),
        version=matching(value, "version", VERSION),
        description=text_of(value, "description", DESCRIPTION_LIMIT, default=""),
        image=matching(value, "image", IMAGE) if "image" in value else "",
        steps=_steps(value.get("steps")),
    )
    packed = _canonical(value)
    if len(packed) > MANIFEST_LIMIT:
        raise ManifestError("", f"larger than {MANIFEST_LIMIT >> 10} KiB")
    return replace(workflow, digest=hashlib.sha256(packed).hexdigest())


def _steps(value: object) -> tuple[WorkflowStep, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_STEPS:
        raise ManifestError("/steps", f"a list of 1 to {MOST_STEPS} steps is expected")
    steps = [_step(each, f"/steps/{index}") for index, each in enumerate(value)]
    places = {step.name: index for index, step in reversed(list(enumerate(steps)))}
    for index, step in enumerate(steps):
        if places[step.name] != index:
            raise ManifestError(f"/steps/{index}/name", f"{step.name} names another step too")
    graph = {step.name: step.needs for step in steps}
    if faults := dag.faults(graph):
        first = faults[0]
        raise ManifestError(f"/steps/{places[first.node]}/needs/{first.index}", first.reason)
    return tuple(steps[places[name]] for name in dag.order(graph))


def _step(value: object, at: str) -> WorkflowStep:
    found = members(value, _STEP_FIELDS, at)
    return WorkflowStep(
        name=matching(found, "name", NAME, at),
        agent=reference(found, "agent", at),
        needs=_needs(found.get("needs", []), f"{at}/needs"),
        input=_input(found.get("input", {}), f"{at}/input"),
        description=text_of(found, "description", DESCRIPTION_LIMIT, default="", at=at),
    )


def _needs(value: object, at: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST_STEPS:
        raise ManifestError(at, "a list of names of steps is expected")
    for index, name in enumerate(value):
        if not isinstance(name, str):
            raise ManifestError(f"{at}/{index}", "a string is expected")
        if name in value[:index]:
            raise ManifestError(f"{at}/{index}", f"{name} is named twice")
    return tuple(value)


def _input(value: object, at: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ManifestError(at, "an object is expected")
    _check_json(value, at, DEEPEST)
    return value


def _check_json(value: object, at: str, depth: int) -> None:
    """Only what every part of the system can hold."""
    if depth == 0:
        raise ManifestError(at, f"nested deeper than {DEEPEST} levels")
    if isinstance(value, float) and not math.isfinite(value):
        raise ManifestError(at, "a finite number is expected")
    inner: Sequence[object] = ()
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, list):
        inner = value
    for each in inner:
        _check_json(each, at, depth - 1)


def _canonical(value: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ManifestError("", "not valid Unicode") from None


def merged(workflow: Workflow, given: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The inputs of the steps: what the workflow says, with the ticket's members for the step in their place."""
    return tuple({**step.input, **given.get(step.name, {})} for step in workflow.steps)
