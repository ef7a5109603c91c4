"""Removes the branches of a finished or deleted ticket's attempts. Safe to repeat at any point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.domain.event import NewEvent
from controlplane.domain.project import Project
from controlplane.domain.ticket import TERMINAL
from controlplane.ports import Forge, Reader, Store, Tx


async def remove_branches(store: Store, forge: Forge, key: str, payload: Mapping[str, Any]) -> None:
    """Nothing for a ticket that was taken up again. Raises what the forge raises; the caller tries again later."""
    found = await store.read(lambda reader: _over(reader, payload))
    refs: Sequence[str] = ()
    if found is not None:
        refs = await forge.remove_attempts(*found)
    await store.write(lambda tx: _record(tx, key, payload, refs, store.now()))


def _over(reader: Reader, payload: Mapping[str, Any]) -> tuple[Project, str, str] | None:
    """Project, key and accepted head of a ticket that is over, or that was deleted."""
    tenant = str(payload["tenant_id"])
    if gone := payload.get("deleted"):
        key, head, project_id = gone["key"], gone["head"], gone["project_id"]
    else:
        ticket = reader.ticket(tenant, str(payload["ticket_id"]))
        if ticket is None or ticket.state not in TERMINAL or ticket.fence != int(payload["fence"]):
            return None
        key, head, project_id = ticket.key, ticket.head, ticket.spec.project_id
    project = reader.project(tenant, project_id)
    return (project, key, head) if project and project.spec.repository else None


def _record(tx: Tx, key: str, payload: Mapping[str, Any], refs: Sequence[str], now: float) -> None:
    tx.effect_done(key, now)
    if refs and "deleted" not in payload:
        tx.add_events([NewEvent(f"ticket:{payload['ticket_id']}", "branches.removed", {"refs": list(refs)})], now)
