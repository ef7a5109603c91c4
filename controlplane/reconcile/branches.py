"""Removes the branches of a finished ticket's attempts. Safe to repeat at any point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.domain.event import NewEvent
from controlplane.domain.project import Project
from controlplane.domain.ticket import TERMINAL, Ticket
from controlplane.ports import Forge, Reader, Store, Tx


async def remove_branches(store: Store, forge: Forge, key: str, payload: Mapping[str, Any]) -> None:
    """Nothing for a ticket that was taken up again. Raises what the forge raises; the caller tries again later."""
    found = await store.read(lambda reader: _over(reader, payload))
    refs: Sequence[str] = ()
    if found is not None:
        ticket, project = found
        refs = await forge.remove_attempts(project, ticket.key, ticket.head)
    await store.write(lambda tx: _record(tx, key, payload, refs, store.now()))


def _over(reader: Reader, payload: Mapping[str, Any]) -> tuple[Ticket, Project] | None:
    ticket = reader.ticket(str(payload["tenant_id"]), str(payload["ticket_id"]))
    if ticket is None or ticket.state not in TERMINAL or ticket.fence != int(payload["fence"]):
        return None
    project = reader.project(ticket.tenant_id, ticket.spec.project_id)
    return (ticket, project) if project and project.spec.repository else None


def _record(tx: Tx, key: str, payload: Mapping[str, Any], refs: Sequence[str], now: float) -> None:
    tx.effect_done(key, now)
    if refs:
        tx.add_events([NewEvent(f"ticket:{payload['ticket_id']}", "branches.removed", {"refs": list(refs)})], now)
