"""Registered workflows, those that come with Swarm and those that people make."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from controlplane.domain import workflow as manifests
from controlplane.domain.agent import Agent
from controlplane.domain.call import Call
from controlplane.domain.manifest import ManifestError
from controlplane.domain.workflow import Workflow
from controlplane.errors import AlreadyExists, InvalidInput, NotFound, StartError, Violation
from controlplane.ports import AssignedStep, Reader, Store, Tx, Work
from controlplane.usecases import agents


def find(reader: Reader, tenant_id: str, name: str) -> Workflow | None:
    """By `name`, which means the newest version, or `name@version`; the tenant's own, or one for everybody."""
    bare, _, version = name.partition("@")
    return reader.workflow(tenant_id, bare, version)


def list_workflows(reader: Reader, call: Call) -> list[Workflow]:
    """All versions, by name and then by time of publishing."""
    return reader.workflows(call.principal.tenant_id)


def get_workflow(reader: Reader, call: Call, name: str) -> Workflow:
    if workflow := find(reader, call.principal.tenant_id, name):
        return workflow
    raise NotFound(f"there is no workflow {name}")


def agents_of(reader: Reader, workflow: Workflow) -> dict[str, Agent]:
    """The agents of its steps by the names that the steps use; those that no VM can run are left out."""
    names = dict.fromkeys(step.agent for step in workflow.steps)
    return {
        name: agent for name in names if (agent := agents.find(reader, workflow.tenant_id, name)) and not agent.external
    }


def image_of(workflow: Workflow, known: Mapping[str, Agent]) -> str:
    """The image of its one VM; empty when its agents need several and it names none."""
    images = {agent.image for agent in known.values()}
    return workflow.image or (images.pop() if len(images) == 1 else "")


def no_agent(name: str) -> str:
    return f"there is no agent {name} that runs in a VM"


def work_of(reader: Reader, workflow: Workflow, given: Mapping[str, Any]) -> Work | str:
    """What a host has to be told, or why it cannot be told. `given` is the ticket's input."""
    known = agents_of(reader, workflow)
    if missing := [step.agent for step in workflow.steps if step.agent not in known]:
        return no_agent(missing[0])
    if not (image := image_of(workflow, known)):
        return f"the agents of workflow {workflow.ref} need more than one image"
    inputs = manifests.merged(workflow, given)
    steps = zip(workflow.steps, inputs, strict=True)
    return Work(image, steps=tuple(AssignedStep(step, known[step.agent], each) for step, each in steps))


def publish_workflow(tx: Tx, call: Call, manifest: Mapping[str, Any]) -> Workflow:
    """Register a workflow. Publishing the same manifest again changes nothing.

    InvalidInput points into the manifest below `/manifest`, AlreadyExists for other content under a version that is
    taken, or under the name of a built-in one.
    """
    workflow = _checked(tx, manifest, call.now, tenant_id=call.principal.tenant_id)
    if (other := tx.workflow(None, workflow.name)) and other.tenant_id != workflow.tenant_id:
        whose = "is built-in" if other.built_in else "is taken"
        raise AlreadyExists(f"the workflow {workflow.name} {whose}; choose another name")
    known = tx.workflow(workflow.tenant_id, workflow.name, workflow.version)
    if known and known.digest == workflow.digest:
        return known
    if known:
        raise AlreadyExists(f"{workflow.ref} exists already; choose another version")
    tx.add_workflow(workflow)
    return workflow


async def register_builtins(store: Store, folder: Path) -> list[Workflow]:
    """Register every `*.json` in `folder`, anew where its content changed. StartError for one that is broken.

    Their agents have to be registered before.
    """
    try:
        texts = await asyncio.to_thread(lambda: [path.read_bytes() for path in sorted(folder.glob("*.json"))])
        return await store.write(lambda tx: [_register(tx, text, store.now()) for text in texts])
    except (ManifestError, InvalidInput, OSError) as error:
        raise StartError(f"a built-in workflow is broken: {error}; install Swarm again") from error


def _register(tx: Tx, text: bytes, now: float) -> Workflow:
    workflow = _checked(tx, manifests.load(text), now, tenant_id="")
    known = tx.workflow(None, workflow.name, workflow.version)
    if known and known.digest == workflow.digest:
        return known
    tx.add_workflow(workflow)
    return workflow


def _checked(reader: Reader, manifest: Mapping[str, Any], now: float, *, tenant_id: str) -> Workflow:
    """Without a tenant it is built-in."""
    try:
        workflow = replace(manifests.parse(manifest), tenant_id=tenant_id)
    except ManifestError as error:
        raise _refused([Violation(f"/manifest{error.field}", error.reason)]) from None
    known = agents_of(reader, workflow)
    if faults := _agent_faults(manifest, known):
        raise _refused(faults)
    if not image_of(workflow, known):
        images = ", ".join(sorted({agent.image for agent in known.values()}))
        raise _refused([Violation("/manifest/image", f"its agents need {images}: name one that holds them all")])
    return replace(workflow, built_in=not tenant_id, published_at=now)


def _agent_faults(manifest: Mapping[str, Any], known: Mapping[str, Agent]) -> list[Violation]:
    return [
        Violation(f"/manifest/steps/{index}/agent", no_agent(step["agent"]))
        for index, step in enumerate(manifest["steps"])
        if step["agent"] not in known
    ]


def _refused(faults: Sequence[Violation]) -> InvalidInput:
    return InvalidInput(f"{faults[0].field}: {faults[0].description}", violations=tuple(faults))
