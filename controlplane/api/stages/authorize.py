"""Who may call what: the role of the policy against the role of the principal."""

from __future__ import annotations

from controlplane.api.methods import Method
from controlplane.domain.call import Principal, Role
from controlplane.errors import Forbidden


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
