"""Registered agents and their bundles."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from controlplane.domain.agent import Agent
from controlplane.stores import statements
from controlplane.stores.session import Row
from controlplane.stores.tables import AgentTable, BundleTable
from controlplane.stores.unit import Unit, pack, unpack

NEWEST = "ORDER BY published_at DESC, version DESC LIMIT 1"
OWN = "(? OR tenant_id IN ('', ?))"
SELECT_NEWEST = statements.select(AgentTable, f"name = ? AND {OWN}", NEWEST)
SELECT_VERSION = statements.select(AgentTable, f"name = ? AND {OWN} AND version = ?", NEWEST)
UPSERT_AGENT = statements.upsert(AgentTable, "name", "version")
INSERT_BUNDLE = statements.insert_new(BundleTable)


class AgentReads(Unit):
    def agent(self, tenant_id: str | None, name: str, version: str = "") -> Agent | None:
        chosen = (name, tenant_id is None, tenant_id or "")
        if version:
            found = self.session.rows(SELECT_VERSION, (*chosen, version))
        else:
            found = self.session.rows(SELECT_NEWEST, chosen)
        return to_agent(found[0]) if found else None

    def agents(self, tenant_id: str | None) -> list[Agent]:
        query = AgentTable.select().order_by(AgentTable.name, AgentTable.published_at, AgentTable.version)
        if tenant_id is not None:
            query = query.where(AgentTable.tenant_id.in_(("", tenant_id)))
        return [to_agent(row) for row in self.session.select(query)]

    def bundle(self, digest: str) -> bytes | None:
        found = self.session.select(BundleTable.select(BundleTable.content).where(BundleTable.digest == digest))
        return bytes(found[0][0]) if found else None


class AgentWrites(AgentReads):
    def add_agent(self, agent: Agent, bundle: bytes) -> None:
        manifest = {
            "description": agent.description,
            "image": agent.image,
            "command": agent.command,
            "input_schema": agent.input_schema,
            "external": agent.external,
            "upstreams": agent.upstreams,
        }
        facts = (agent.digest, agent.built_in, agent.published_at, pack(manifest))
        self.session.change(UPSERT_AGENT, ((agent.name, agent.version, *facts, agent.tenant_id),))
        self.session.change(INSERT_BUNDLE, ((agent.digest, bundle),))
        self.topics.add("agents")


def to_agent(row: Row) -> Agent:
    name, version, digest, built_in, published_at, packed, tenant_id = row
    manifest = to_manifest(packed)
    return Agent(
        name=name,
        version=version,
        description=manifest["description"],
        image=manifest["image"],
        command=tuple(manifest["command"]),
        input_schema=manifest["input_schema"],
        digest=digest,
        built_in=bool(built_in),
        published_at=published_at,
        external=manifest.get("external", False),
        upstreams=tuple(manifest.get("upstreams", ())),
        tenant_id=tenant_id,
    )


@lru_cache(256)
def to_manifest(text: str) -> Mapping[str, Any]:
    """Decoded once while it is in use: each filing looks its agents up."""
    manifest: Mapping[str, Any] = unpack(text)
    return manifest
