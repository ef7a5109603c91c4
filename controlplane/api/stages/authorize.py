"""Who may call what: the policy of the method against role, scopes and tenant of the principal."""

from __future__ import annotations

from typing import Final

from controlplane.api.methods import Method
from controlplane.domain.call import Principal, Role
from controlplane.domain.scope import allows
from controlplane.domain.tenant import DEFAULT_TENANT
from controlplane.errors import Forbidden

# What all tenants share: only those of the default one, which runs the deployment, change it.
SHARED: Final = frozenset({"fleet", "coordinator", "registry", "vm"})


def authorize(method: Method, principal: Principal) -> None:
    """Roles are ordered, except that hosts and everybody else never call each other's methods."""
    if method.role is Role.PUBLIC:
        return
    if Role.HOST in (method.role, principal.role):
        allowed = method.role is principal.role
    else:
        allowed = principal.role >= method.role
    if not allowed:
        raise Forbidden(f"{principal.name} is {principal.role.name.lower()}; this needs {method.role.name.lower()}")
    if not allows(principal.scopes, method.noun, changes=method.changes):
        raise Forbidden(f"{principal.name} has no scope for this", reason="scope")
    if method.noun in SHARED and method.changes and principal.tenant_id != DEFAULT_TENANT:
        raise Forbidden("this is for those of the default tenant, which runs the deployment", reason="shared")
