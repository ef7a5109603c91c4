"""What runs the tickets of one request: chosen, checked against their inputs, and fixed into their specs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.domain.agent import Agent
from controlplane.domain.call import Call
from controlplane.domain.manifest import escape
from controlplane.domain.mapping import Runner, runner_of
from controlplane.domain.project import Project
from controlplane.domain.ticket import TicketSpec, TicketType
from controlplane.domain.workflow import Workflow, merged
from controlplane.ports import Reader
from controlplane.usecases import agents, workflows
from controlplane.usecases.assignments import DEFAULT_AGENT
from controlplane.usecases.images import DEFAULT_IMAGE, missing_image, present_images
from controlplane.usecases.inputs import check_input
from controlplane.usecases.mapping import get_mapping


@dataclass(frozen=True, slots=True)
class Runners:
    """`chosen` by index of the spec; `agents` and `workflows` hold what exists of all that is named."""

    chosen: Sequence[Runner]
    agents: Mapping[str, Agent]
    workflows: Mapping[str, Workflow]

    @classmethod
    def of(cls, reader: Reader, call: Call, specs: Sequence[TicketSpec], projects: Mapping[str, Project]) -> Runners:
        rules, tenant = get_mapping(reader, call), call.principal.tenant_id
        chosen = [
            Runner()
            if spec.type is TicketType.EPIC
            else runner_of(spec, rules, _fallback(projects.get(spec.project_id)))
            for spec in specs
        ]
        named = {one.workflow for one in chosen} - {""}
        found = {name: workflow for name in sorted(named) if (workflow := workflows.find(reader, tenant, name))}
        wanted = {one.agent for one in chosen} | {step.agent for each in found.values() for step in each.steps}
        known = {name: agent for name in sorted(wanted - {""}) if (agent := agents.find(reader, tenant, name))}
        return cls(chosen, known, found)

    def faults(self, index: int, spec: TicketSpec) -> Iterator[tuple[str, str]]:
        """Yield (pointer below the spec, what is wrong)."""
        runner = self.chosen[index]
        if runner.agent and runner.workflow:
            yield "/workflow", "an agent or a workflow runs a ticket, not both"
        elif runner.workflow:
            yield from self._workflow_faults(runner.workflow, spec)
        elif runner.agent not in self.agents:
            yield "/agent", f"there is no agent {runner.agent}"
        else:
            for fault in check_input(self.agents[runner.agent], spec.input):
                yield f"/input{fault.field}", fault.description

    def _workflow_faults(self, name: str, spec: TicketSpec) -> Iterator[tuple[str, str]]:
        workflow = self.workflows.get(name)
        if workflow is None:
            yield "/workflow", f"there is no workflow {name}"
            return
        if missing := [step.agent for step in workflow.steps if step.agent not in self.agents]:
            yield "/workflow", f"there is no agent {missing[0]}, which a step of {workflow.ref} needs"
            return
        names = [step.name for step in workflow.steps]
        for key, value in spec.input.items():
            if key not in names:
                yield f"/input/{escape(key)}", f"{workflow.ref} has no such step; its steps: {', '.join(names)}"
            elif not isinstance(value, Mapping):
                yield f"/input/{key}", "the input of a step is an object"
        if all(isinstance(value, Mapping) for value in spec.input.values()):
            yield from self._step_faults(workflow, spec)

    def _step_faults(self, workflow: Workflow, spec: TicketSpec) -> Iterator[tuple[str, str]]:
        for step, given in zip(workflow.steps, merged(workflow, spec.input), strict=True):
            for fault in check_input(self.agents[step.agent], given):
                yield f"/input/{step.name}{fault.field}", fault.description

    def expect_images(self, reader: Reader, specs: Sequence[TicketSpec], pointers: Sequence[str]) -> None:
        """FailedPrecondition for the first ticket whose image no host has."""
        needed = [self._image(index, spec) for index, spec in enumerate(specs)]
        if set(needed) == {DEFAULT_IMAGE}:
            return
        present = present_images(reader)
        for index, image in enumerate(needed):
            if image not in present:
                field, by = self._blame(index, specs[index])
                raise missing_image(image, pointers[index] + field, by)

    def _image(self, index: int, spec: TicketSpec) -> str:
        runner = self.chosen[index]
        if not runner:
            return DEFAULT_IMAGE
        if spec.resources.image:
            return spec.resources.image
        if runner.agent:
            return self.agents[runner.agent].image
        workflow = self.workflows[runner.workflow]
        own = {step.agent: self.agents[step.agent] for step in workflow.steps}
        return workflows.image_of(workflow, own) or DEFAULT_IMAGE

    def _blame(self, index: int, spec: TicketSpec) -> tuple[str, str]:
        runner = self.chosen[index]
        if spec.resources.image:
            return "/resources/image", "the ticket"
        return ("/agent", f"agent {runner.agent}") if runner.agent else ("/workflow", f"workflow {runner.workflow}")

    def fixed(self, index: int) -> Runner:
        """What was chosen, a workflow with its version: the input was checked against this, whatever is said later."""
        runner = self.chosen[index]
        return Runner(workflow=self.workflows[runner.workflow].ref) if runner.workflow else runner


def _fallback(project: Project | None) -> Runner:
    named = Runner(project.spec.agent, project.spec.workflow) if project else Runner()
    return named or Runner(agent=DEFAULT_AGENT)
