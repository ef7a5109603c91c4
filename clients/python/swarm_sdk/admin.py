"""Users and tenants, for their admins, and the deployment. `tenant_id` empty: one's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from swarm.admin.v1 import service_pb2 as pb
from swarm.admin.v1.admin_pb2 import Setting, Tenant, TenantSpec, UserSpec
from swarm.admin.v1.service_pb2 import CreateUserResponse, GetHealthResponse, GetUsageResponse
from swarm.admin.v1.service_pb2_grpc import AdminServiceStub
from swarm.auth.v1.auth_pb2 import User
from swarm_sdk.paging import Paged
from swarm_sdk.transport import Transport


class Admin:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = AdminServiceStub(transport.channel)

    async def create_user(self, spec: UserSpec, *, password: str = "", tenant_id: str = "") -> CreateUserResponse:
        """Without a password the answer has a token, with which the user chooses one."""
        request = pb.CreateUserRequest(spec=spec, password=password, tenant_id=tenant_id)
        return await self._transport.once(self._stub.CreateUser, request)

    def users(self, *, tenant_id: str = "", limit: int = 0) -> Paged[User]:
        async def page(token: str, size: int) -> tuple[Sequence[User], str]:
            request = pb.ListUsersRequest(page_size=size, page_token=token, tenant_id=tenant_id)
            answer = await self._transport.read(self._stub.ListUsers, request)
            return answer.users, answer.next_page_token

        return Paged(page, limit)

    async def user(self, user_id: str, *, tenant_id: str = "") -> User:
        request = pb.GetUserRequest(id=user_id, tenant_id=tenant_id)
        return (await self._transport.read(self._stub.GetUser, request)).user

    async def update_user(
        self, user_id: str, spec: UserSpec, fields: Iterable[str], *, tenant_id: str = "", key: str = ""
    ) -> User:
        """Changes the named fields of the spec."""
        mask = FieldMask(paths=fields)
        request = pb.UpdateUserRequest(id=user_id, spec=spec, update_mask=mask, tenant_id=tenant_id)
        return (await self._transport.change(self._stub.UpdateUser, request, key=key)).user

    async def reset_user(self, user_id: str, *, tenant_id: str = "") -> str:
        """Ends all logins and drops the second factor; answers a token for a new password."""
        request = pb.ResetUserRequest(id=user_id, tenant_id=tenant_id)
        return (await self._transport.once(self._stub.ResetUser, request)).reset_token

    async def create_tenant(self, tenant_id: str, spec: TenantSpec, *, key: str = "") -> Tenant:
        request = pb.CreateTenantRequest(id=tenant_id, spec=spec)
        return (await self._transport.change(self._stub.CreateTenant, request, key=key)).tenant

    def tenants(self, *, limit: int = 0) -> Paged[Tenant]:
        async def page(token: str, size: int) -> tuple[Sequence[Tenant], str]:
            request = pb.ListTenantsRequest(page_size=size, page_token=token)
            answer = await self._transport.read(self._stub.ListTenants, request)
            return answer.tenants, answer.next_page_token

        return Paged(page, limit)

    async def tenant(self, tenant_id: str) -> Tenant:
        return (await self._transport.read(self._stub.GetTenant, pb.GetTenantRequest(id=tenant_id))).tenant

    async def update_tenant(self, tenant_id: str, spec: TenantSpec, fields: Iterable[str], *, key: str = "") -> Tenant:
        """Changes the named fields of the spec."""
        request = pb.UpdateTenantRequest(id=tenant_id, spec=spec, update_mask=FieldMask(paths=fields))
        return (await self._transport.change(self._stub.UpdateTenant, request, key=key)).tenant

    async def config(self) -> Sequence[Setting]:
        """What the deployment runs with."""
        return (await self._transport.read(self._stub.GetConfig, pb.GetConfigRequest())).settings

    async def configure(self, values: Mapping[str, str], *, key: str = "") -> Sequence[Setting]:
        """Changes settings while it runs; an empty value goes back to what was configured."""
        request = pb.UpdateConfigRequest(values=values)
        return (await self._transport.change(self._stub.UpdateConfig, request, key=key)).settings

    async def usage(self, *, first_day: str = "", last_day: str = "", tenant_id: str = "") -> GetUsageResponse:
        """By day, project and user; days such as 2026-01-31."""
        request = pb.GetUsageRequest(first_day=first_day, last_day=last_day, tenant_id=tenant_id)
        return await self._transport.read(self._stub.GetUsage, request)

    async def health(self) -> GetHealthResponse:
        return await self._transport.read(self._stub.GetHealth, pb.GetHealthRequest())
