"""People who have an account, and how they come in."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pyotp

from swarm_sdk import Client
from swarm_sdk.types import Role, Tokens, UserSpec
from tests.fakes.control import Control

PASSWORD = "correct horse battery"


@dataclass
class Town:
    """A control plane and those who use it."""

    control: Control
    admin: Client
    opened: list[Client] = field(default_factory=list)

    def stranger(self, token: str = "") -> Client:
        """A client with this credential, or none."""
        client = Client(f"unix:{self.control.socket}", token, retries=0)
        self.opened.append(client)
        return client

    async def settle(self, name: str, role: Role.ValueType = Role.ROLE_DEVELOPER, tenant: str = "") -> str:
        """Makes a user with the usual password; answers its id."""
        spec = UserSpec(email=f"{name}@example.org", name=name, role=role)
        return (await self.admin.admin.create_user(spec, password=PASSWORD, tenant_id=tenant)).user.id

    async def tokens(self, name: str) -> Tokens:
        answer = await self.stranger().auth.login(f"{name}@example.org", PASSWORD)
        assert answer.HasField("tokens")
        return answer.tokens

    async def person(self, name: str, role: Role.ValueType = Role.ROLE_DEVELOPER, tenant: str = "") -> Client:
        """A new user who is logged in."""
        await self.settle(name, role, tenant)
        return self.stranger((await self.tokens(name)).access_token)


@dataclass
class App:
    """An authenticator app; it can be asked for codes of other times."""

    secret: str

    def code(self, steps: int = 0) -> str:
        return pyotp.TOTP(self.secret).at(int(time.time()) + 30 * steps)
