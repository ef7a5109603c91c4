"""Users, logins, keys and tenants."""

from __future__ import annotations

from controlplane.api.convert.common import seconds, timestamp
from controlplane.domain.apikey import ApiKey, KeySpec
from controlplane.domain.call import Role
from controlplane.domain.login import Login
from controlplane.domain.tenant import Tenant, TenantSpec
from controlplane.domain.user import User, UserSpec
from controlplane.usecases.accounts.logins import Challenge, Issued
from swarm.admin.v1 import admin_pb2
from swarm.auth.v1 import auth_pb2
from swarm.auth.v1 import service_pb2 as auth
from swarm.key.v1 import key_pb2
from swarm.options.v1 import options_pb2


def role_out(role: Role) -> options_pb2.Role.ValueType:
    return options_pb2.Role.Value(f"ROLE_{role.name}")


def user_out(user: User) -> auth_pb2.User:
    return auth_pb2.User(
        id=user.id,
        tenant_id=user.tenant_id,
        email=user.email,
        name=user.name,
        role=role_out(user.role),
        created_at=timestamp(user.created_at),
        disabled_at=timestamp(user.disabled_at),
        totp_enabled=user.second_factor,
        has_password=bool(user.password),
    )


def user_spec_in(spec: admin_pb2.UserSpec) -> UserSpec:
    return UserSpec(spec.email, spec.name, Role(spec.role or Role.VIEWER), spec.disabled)


def tokens_out(issued: Issued) -> auth_pb2.Tokens:
    return auth_pb2.Tokens(
        access_token=issued.access_token,
        access_expires_at=timestamp(issued.access_expires_at),
        refresh_token=issued.refresh_token,
        refresh_expires_at=timestamp(issued.login.expires_at),
        login_id=issued.login.id,
        user=user_out(issued.user),
    )


def outcome_out(outcome: Issued | Challenge) -> auth.LoginResponse:
    if isinstance(outcome, Challenge):
        return auth.LoginResponse(challenge=outcome.token)
    return auth.LoginResponse(tokens=tokens_out(outcome))


def login_out(login: Login, current_id: str) -> auth_pb2.Login:
    return auth_pb2.Login(
        id=login.id,
        method=login.method,
        user_agent=login.user_agent,
        address=login.address,
        created_at=timestamp(login.created_at),
        last_used_at=timestamp(login.used_at),
        expires_at=timestamp(login.expires_at),
        current=login.id == current_id,
    )


def key_spec_in(spec: key_pb2.KeySpec) -> KeySpec:
    expires_at = seconds(spec.expires_at) if spec.HasField("expires_at") else None
    return KeySpec(spec.name, frozenset(spec.scopes), expires_at)


def key_out(key: ApiKey) -> key_pb2.Key:
    spec = key_pb2.KeySpec(name=key.name, scopes=sorted(key.scopes), expires_at=timestamp(key.expires_at))
    return key_pb2.Key(
        id=key.id,
        spec=spec,
        hint=key.hint,
        created_at=timestamp(key.created_at),
        last_used_at=timestamp(key.used_at),
    )


def tenant_spec_in(spec: admin_pb2.TenantSpec) -> TenantSpec:
    return TenantSpec(spec.name, spec.disabled)


def tenant_out(tenant: Tenant) -> admin_pb2.Tenant:
    spec = admin_pb2.TenantSpec(name=tenant.name, disabled=tenant.disabled_at is not None)
    return admin_pb2.Tenant(id=tenant.id, spec=spec, created_at=timestamp(tenant.created_at))
