"""The mapping: what runs a ticket that names neither an agent nor a workflow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.domain.ticket import TicketSpec, TicketType


@dataclass(frozen=True, slots=True)
class Runner:
    """An agent or a workflow, by `name` or `name@version`; at most one of the two is set."""

    agent: str = ""
    workflow: str = ""

    def __bool__(self) -> bool:
        return bool(self.agent or self.workflow)


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions that are left out always hold; a ticket needs all of the tags."""

    runner: Runner
    type: TicketType | None = None
    tags: tuple[str, ...] = ()
    project_id: str = ""

    def fits(self, spec: TicketSpec) -> bool:
        return (
            self.type in {None, spec.type}
            and set(self.tags) <= set(spec.tags)
            and self.project_id in {"", spec.project_id}
        )


def runner_of(spec: TicketSpec, rules: Iterable[Rule], fallback: Runner) -> Runner:
    """What the ticket names, else what the first rule that fits says, else the fallback."""
    if spec.agent or spec.workflow:
        return Runner(spec.agent, spec.workflow)
    return next((rule.runner for rule in rules if rule.fits(spec)), fallback)
