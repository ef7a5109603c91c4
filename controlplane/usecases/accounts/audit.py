"""Audit rows of what people do before they are anybody: they belong to the user whom it concerns, and its tenant."""

from __future__ import annotations

from typing import Any

from controlplane.domain.call import Call
from controlplane.domain.user import User
from controlplane.ports import Tx


def note(tx: Tx, action: str, call: Call, user: User, **data: Any) -> None:
    """`data` names things, and holds nothing that was typed."""
    who = f"user:{user.id}"
    tx.add_audit(action, who, call.request_id, data, call.now, tenant_id=user.tenant_id, user_id=user.id)
