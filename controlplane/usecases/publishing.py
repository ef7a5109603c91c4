"""Publishing agents: those that come with Swarm, and those that people make."""

from __future__ import annotations

import asyncio
from pathlib import Path

from controlplane.domain import bundle as bundles
from controlplane.domain.agent import Agent
from controlplane.domain.call import Call
from controlplane.domain.manifest import ManifestError
from controlplane.errors import AlreadyExists, InvalidInput, StartError, Violation
from controlplane.ports import Store, Tx
from controlplane.usecases.inputs import schema_fault


def publish_agent(tx: Tx, call: Call, bundle: bytes) -> Agent:
    """Register an agent's folder, packed as a tar. Publishing the same bundle again changes nothing.

    InvalidInput for a bundle that is none, AlreadyExists for other content under a version that is taken.
    """
    agent = parsed(bundle, call.now, tenant_id=call.principal.tenant_id)
    if (other := tx.agent(None, agent.name)) and other.tenant_id != agent.tenant_id:
        whose = "is built-in" if other.built_in else "is taken"
        raise AlreadyExists(f"the agent {agent.name} {whose}; choose another name")
    known = tx.agent(agent.tenant_id, agent.name, agent.version)
    if known and known.digest == agent.digest:
        return known
    if known:
        raise AlreadyExists(f"{agent.name}@{agent.version} exists already; choose another version")
    tx.add_agent(agent, bundle)
    return agent


async def register_builtins(store: Store, folder: Path) -> list[Agent]:
    """Register every agent folder in `folder`, anew where its content changed. StartError for one that is broken."""
    try:
        packed = await asyncio.to_thread(_pack_all, folder)
        return await store.write(lambda tx: [_register(tx, bundle, store.now()) for bundle in packed])
    except (ManifestError, InvalidInput, OSError) as error:
        raise StartError(f"a built-in agent is broken: {error}; install Swarm again") from error


def _pack_all(folder: Path) -> list[bytes]:
    return [bundles.pack(path.parent) for path in sorted(folder.glob("*/agent.json"))]


def _refused(description: str) -> InvalidInput:
    return InvalidInput(f"bundle: {description}", violations=(Violation("/bundle", description),))


def _register(tx: Tx, bundle: bytes, now: float) -> Agent:
    agent = parsed(bundle, now, tenant_id="")
    known = tx.agent(None, agent.name, agent.version)
    if known and known.digest == agent.digest:
        return known
    tx.add_agent(agent, bundle)
    return agent


def parsed(bundle: bytes, now: float, *, tenant_id: str) -> Agent:
    """Built-in without a tenant. InvalidInput for a bundle that no host could run; it points into the manifest."""
    try:
        manifest = bundles.read(bundle)
    except ManifestError as error:
        raise _refused(str(error)) from None
    if fault := schema_fault(manifest.input_schema):
        raise _refused(f"/input_schema{fault}")
    return Agent(
        name=manifest.name,
        version=manifest.version,
        description=manifest.description,
        image=manifest.image,
        command=tuple(manifest.command),
        input_schema=manifest.input_schema,
        digest=bundles.digest(bundle),
        built_in=not tenant_id,
        tenant_id=tenant_id,
        published_at=now,
        external=manifest.external,
        upstreams=manifest.upstreams,
    )
