"""Tenants: whose everything is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TenantSpec:
    """What can be changed of one."""

    name: str
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Tenant:
    """`disabled_at` is when its users were shut out; None: they are not."""

    id: str
    name: str
    created_at: float
    disabled_at: float | None = None
