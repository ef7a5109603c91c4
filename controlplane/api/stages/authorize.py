"""Who may call what: the policy of the method against role, scopes and tenant of the principal."""

from __future__ import annotations

from controlplane.api.methods import Method
from controlplane.domain.call import HOME, Principal, Role
from controlplane.domain.scope import allows, needed
from controlplane.errors import Forbidden


def authorize(method: Method, principal: Principal) -> None:
    """Roles are ordered, except that hosts and everybody else never call each other's methods."""
    if method.role is Role.PUBLIC:
        return
    if Role.HOST in (method.role, principal.role):
        allowed = method.role is principal.role
    else:
        allowed = principal.role >= method.role
    if method.fleet and principal.tenant_id != HOME:
        raise Forbidden(f"{principal.name} does not belong to the tenant that runs this deployment", reason="not_home")
    if not allowed:
        raise Forbidden(f"{principal.name} is {principal.role.name.lower()}; this needs {method.role.name.lower()}")
    if not allows(principal.scopes, method.noun, method.verb, changes=method.changes):
        scope = needed(method.noun, changes=method.changes)
        raise Forbidden(f"{principal.name} lacks the scope {scope}", reason="scope")
