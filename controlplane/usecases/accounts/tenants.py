"""Tenants. Those of the deployment are run by the admins of the default one; any other admin knows one only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controlplane.domain.call import HOME, Call
from controlplane.domain.tenant import Tenant, TenantSpec
from controlplane.domain.user import name_in
from controlplane.errors import FailedPrecondition, Forbidden, NotFound
from controlplane.ports import Page, Reader, Tx
from controlplane.usecases.mask import merge

UPDATABLE = ("name", "disabled")


def administered(reader: Reader, call: Call, tenant_id: str) -> Tenant:
    """The tenant that an admin means, its own where none is named; NotFound for one that is not its to run."""
    wanted = tenant_id or call.principal.tenant_id
    mine = call.principal.tenant_id in {wanted, HOME}
    tenant = reader.tenant(wanted) if mine else None
    if tenant is None:
        raise NotFound(f"there is no tenant {wanted}")
    return tenant


def create_tenant(tx: Tx, call: Call, ident: str, spec: TenantSpec) -> Tenant:
    tenant = Tenant(ident, name_in(spec.name, "/spec/name"), call.now, call.now if spec.disabled else None)
    tx.add_tenant(tenant)
    return tenant


def list_tenants(reader: Reader, call: Call, page: Page) -> tuple[list[Tenant], str]:
    if call.principal.tenant_id != HOME:
        return [administered(reader, call, "")], ""
    return reader.tenants(page)


def update_tenant(tx: Tx, call: Call, ident: str, spec: TenantSpec, fields: Sequence[str]) -> Tenant:
    """Takes the named fields; the default tenant cannot be shut out, nor can an admin its own."""
    tenant = administered(tx, call, ident)
    after = merge(TenantSpec(tenant.name, tenant.disabled_at is not None), spec, fields, UPDATABLE)
    if after.disabled != (tenant.disabled_at is not None):
        _expect_platform(call)
    if after.disabled and tenant.id == HOME:
        words = "the default tenant cannot be disabled: it runs the deployment"
        raise FailedPrecondition(words, reason="default_tenant")
    disabled_at = (tenant.disabled_at or call.now) if after.disabled else None
    changed = replace(tenant, name=name_in(after.name, "/spec/name"), disabled_at=disabled_at)
    tx.save_tenant(changed)
    return changed


def _expect_platform(call: Call) -> None:
    if call.principal.tenant_id != HOME:
        raise Forbidden("this is for admins of the default tenant")
