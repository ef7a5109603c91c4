"""AdminService: users and tenants."""

from __future__ import annotations

from controlplane.api.bindings import Action, Bindings, Command, Query
from controlplane.api.convert.account import tenant_out, tenant_spec_in, user_out, user_spec_in
from controlplane.api.convert.common import page_in
from controlplane.api.convert.mask import masked_fields
from controlplane.domain.call import Call
from controlplane.ports import Reader, Tx
from controlplane.usecases.accounts import tenants, users
from controlplane.usecases.accounts.parts import Accounts
from controlplane.usecases.services import Services
from swarm.admin.v1 import service_pb2 as pb

SERVICE = "swarm.admin.v1.AdminService"


def bindings(accounts: Accounts) -> Bindings:
    async def create_user(_: Services, call: Call, request: pb.CreateUserRequest) -> pb.CreateUserResponse:
        spec = user_spec_in(request.spec)
        user, token = await users.create_user(accounts, call, request.tenant_id, spec, request.password)
        return pb.CreateUserResponse(user=user_out(user), reset_token=token)

    return {
        f"{SERVICE}.CreateUser": Action(create_user),
        f"{SERVICE}.ListUsers": Query(list_users),
        f"{SERVICE}.GetUser": Query(get_user),
        f"{SERVICE}.UpdateUser": Command(update_user, after=accounts.refresh),
        f"{SERVICE}.ResetUser": Command(reset_user, after=accounts.refresh),
        f"{SERVICE}.CreateTenant": Command(create_tenant),
        f"{SERVICE}.ListTenants": Query(list_tenants),
        f"{SERVICE}.GetTenant": Query(get_tenant),
        f"{SERVICE}.UpdateTenant": Command(update_tenant, after=accounts.refresh),
    }


def list_users(reader: Reader, call: Call, request: pb.ListUsersRequest) -> pb.ListUsersResponse:
    found, token = users.list_users(reader, call, request.tenant_id, page_in(request))
    return pb.ListUsersResponse(users=[user_out(user) for user in found], next_page_token=token)


def get_user(reader: Reader, call: Call, request: pb.GetUserRequest) -> pb.GetUserResponse:
    return pb.GetUserResponse(user=user_out(users.get_user(reader, call, request.tenant_id, request.id)))


def update_user(tx: Tx, call: Call, request: pb.UpdateUserRequest) -> pb.UpdateUserResponse:
    fields = masked_fields(request.update_mask, request.spec)
    user = users.get_user(tx, call, request.tenant_id, request.id)
    return pb.UpdateUserResponse(user=user_out(users.update_user(tx, call, user, user_spec_in(request.spec), fields)))


def reset_user(tx: Tx, call: Call, request: pb.ResetUserRequest) -> pb.ResetUserResponse:
    user = users.get_user(tx, call, request.tenant_id, request.id)
    return pb.ResetUserResponse(reset_token=users.reset_user(tx, call, user))


def create_tenant(tx: Tx, call: Call, request: pb.CreateTenantRequest) -> pb.CreateTenantResponse:
    tenant = tenants.create_tenant(tx, call, request.id, tenant_spec_in(request.spec))
    return pb.CreateTenantResponse(tenant=tenant_out(tenant))


def list_tenants(reader: Reader, call: Call, request: pb.ListTenantsRequest) -> pb.ListTenantsResponse:
    found, token = tenants.list_tenants(reader, call, page_in(request))
    return pb.ListTenantsResponse(tenants=[tenant_out(tenant) for tenant in found], next_page_token=token)


def get_tenant(reader: Reader, call: Call, request: pb.GetTenantRequest) -> pb.GetTenantResponse:
    return pb.GetTenantResponse(tenant=tenant_out(tenants.administered(reader, call, request.id)))


def update_tenant(tx: Tx, call: Call, request: pb.UpdateTenantRequest) -> pb.UpdateTenantResponse:
    fields = masked_fields(request.update_mask, request.spec)
    tenant = tenants.update_tenant(tx, call, request.id, tenant_spec_in(request.spec), fields)
    return pb.UpdateTenantResponse(tenant=tenant_out(tenant))
