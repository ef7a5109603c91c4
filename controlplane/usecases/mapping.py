"""The mapping of a tenant: rules that say what runs a ticket that names neither an agent nor a workflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from controlplane.domain.call import Call
from controlplane.domain.mapping import Rule, Runner
from controlplane.domain.ticket import TicketType
from controlplane.errors import InvalidInput, Violation
from controlplane.ports import Reader, Tx
from controlplane.usecases import agents, workflows


def get_mapping(reader: Reader, call: Call) -> tuple[Rule, ...]:
    """The first rule that fits a ticket counts."""
    return tuple(map(_rule, reader.setting(_setting(call)) or ()))


def set_mapping(tx: Tx, call: Call, rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Replace all rules; tickets that are filed already keep what they have. InvalidInput names every fault."""
    faults = tuple(
        Violation(f"/mapping/rules/{index}{field}", text)
        for index, rule in enumerate(rules)
        for field, text in _faults(tx, call, rule)
    )
    if faults:
        raise InvalidInput(f"{faults[0].field}: {faults[0].description}", violations=faults)
    tx.set_setting(_setting(call), list(map(_stored, rules)))
    return tuple(rules)


def runner_faults(reader: Reader, tenant_id: str, runner: Runner) -> Iterator[tuple[str, str]]:
    """Yield (pointer, what is wrong) for an agent or workflow that is not registered, or both at once."""
    if runner.agent and runner.workflow:
        yield "/workflow", "an agent or a workflow, not both"
    if runner.agent and not agents.find(reader, tenant_id, runner.agent):
        yield "/agent", f"there is no agent {runner.agent}"
    if runner.workflow and not workflows.find(reader, tenant_id, runner.workflow):
        yield "/workflow", f"there is no workflow {runner.workflow}"


def _faults(reader: Reader, call: Call, rule: Rule) -> Iterator[tuple[str, str]]:
    if not rule.runner:
        yield "", "a rule names an agent or a workflow"
    yield from runner_faults(reader, call.principal.tenant_id, rule.runner)
    if rule.type is TicketType.EPIC:
        yield "/type", "nothing runs an epic"
    if rule.project_id and not reader.project(call.principal.tenant_id, rule.project_id):
        yield "/project_id", f"there is no project {rule.project_id}"


def _setting(call: Call) -> str:
    return f"mapping:{call.principal.tenant_id}"


def _stored(rule: Rule) -> dict[str, Any]:
    return {
        "agent": rule.runner.agent,
        "workflow": rule.runner.workflow,
        "type": rule.type.value if rule.type else "",
        "tags": rule.tags,
        "project_id": rule.project_id,
    }


def _rule(stored: Mapping[str, Any]) -> Rule:
    return Rule(
        runner=Runner(stored["agent"], stored["workflow"]),
        type=TicketType(stored["type"]) if stored["type"] else None,
        tags=tuple(stored["tags"]),
        project_id=stored["project_id"],
    )
