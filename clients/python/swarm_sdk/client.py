"""The way in: `async with Client.open(state_dir) as swarm: await swarm.tickets.list()`."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from swarm.auth.v1.auth_pb2 import Tokens
from swarm.auth.v1.service_pb2 import RefreshRequest
from swarm.auth.v1.service_pb2_grpc import AuthServiceStub
from swarm_sdk.admin import Admin
from swarm_sdk.agents import Agents
from swarm_sdk.audit import Audit
from swarm_sdk.auth import Auth
from swarm_sdk.coordinator import Coordinator
from swarm_sdk.credentials import StoredLogin
from swarm_sdk.errors import UnauthenticatedError, from_rpc
from swarm_sdk.hosts import Hosts
from swarm_sdk.keys import Keys
from swarm_sdk.notifications import Notifications
from swarm_sdk.projects import Projects
from swarm_sdk.pullrequests import PullRequests
from swarm_sdk.registry import Registry
from swarm_sdk.tickets import Tickets
from swarm_sdk.transport import CALL_TIMEOUT_S, RETRIES, Transport
from swarm_sdk.vms import Vms

SOCKET = "controlplane.sock"
TOKEN = "admin.token"  # noqa: S105  # the name of the file, not what is in it


class Client:
    """Async client of one control plane, one attribute per service. Use it as a context manager, or `close()` it."""

    def __init__(
        self,
        target: str,
        token: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
        retries: int = RETRIES,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        """`target` is a gRPC target such as `unix:/var/lib/swarm/controlplane.sock`; TCP needs TLS `credentials`.

        `timeout_s` bounds a call with all its repetitions.
        """
        self.transport = Transport(
            target, token, credentials=credentials, timeout_s=timeout_s, retries=retries, channel=channel
        )
        self.tickets = Tickets(self.transport)
        self.agents = Agents(self.transport)
        self.projects = Projects(self.transport)
        self.pull_requests = PullRequests(self.transport)
        self.vms = Vms(self.transport)
        self.hosts = Hosts(self.transport)
        self.coordinator = Coordinator(self.transport)
        self.registry = Registry(self.transport)
        self.auth = Auth(self.transport)
        self.keys = Keys(self.transport)
        self.admin = Admin(self.transport)
        self.notifications = Notifications(self.transport)
        self.audit = Audit(self.transport)

    @classmethod
    def open(cls, state_dir: str | Path, *, timeout_s: float = CALL_TIMEOUT_S, retries: int = RETRIES) -> Self:
        """A client of the control plane on this machine that owns `state_dir`."""
        home = Path(state_dir).absolute()
        return cls(f"unix:{home / SOCKET}", read_token(home / TOKEN), timeout_s=timeout_s, retries=retries)

    @classmethod
    def from_environment(cls, state_dir: str | Path) -> Self:
        """The control plane of SWARM_TARGET (with SWARM_CA_FILE for TLS), else the one that owns `state_dir`.

        The credential is SWARM_TOKEN, such as an API key, else what SWARM_TOKEN_FILE holds, else the login that
        `swarm login` left, else the admin's token in `state_dir`.
        """
        client = cls.stranger(state_dir)
        file, login = os.environ.get("SWARM_TOKEN_FILE", ""), StoredLogin(client.transport.target)
        if token := os.environ.get("SWARM_TOKEN", ""):
            client.transport.use(token)
        elif not file and login.exists:
            client.log_in(login)
        else:
            client.transport.use(read_token(Path(file or Path(state_dir) / TOKEN)))
        return client

    @classmethod
    def stranger(cls, state_dir: str | Path) -> Self:
        """A client of the same control plane without a credential, for those who are about to log in."""
        target = os.environ.get("SWARM_TARGET", "") or f"unix:{Path(state_dir).absolute() / SOCKET}"
        authority = os.environ.get("SWARM_CA_FILE", "") if os.environ.get("SWARM_TARGET") else ""
        credentials = grpc.ssl_channel_credentials(Path(authority).read_bytes()) if authority else None
        return cls(target, "", credentials=credentials)

    def log_in(self, login: StoredLogin) -> None:
        """From now on calls are of that login, whose tokens are kept fresh."""

        async def exchange(refresh_token: str) -> Tokens:
            stub = AuthServiceStub(self.transport.channel)
            try:
                answer = await stub.Refresh(RefreshRequest(refresh_token=refresh_token), timeout=CALL_TIMEOUT_S)
            except grpc.aio.AioRpcError as fault:
                raise from_rpc(fault) from None
            return answer.tokens

        self.transport.renew = lambda: login.token(exchange)

    async def ready(self, timeout_s: float) -> bool:
        """Whether the control plane takes connections, waiting for it at most `timeout_s` seconds."""
        return await self.transport.reachable(timeout_s)

    async def close(self) -> None:
        await self.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def read_token(path: Path) -> str:
    """The token in a file; what is wrong with it is told by an `UnauthenticatedError`."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise UnauthenticatedError(
            f"no token at {path}: is the control plane running with this state directory?", reason="no_token"
        ) from None
    except (OSError, UnicodeDecodeError) as fault:
        raise UnauthenticatedError(f"cannot read the token at {path}: {fault}", reason="no_token") from None
    if not token:
        raise UnauthenticatedError(f"the token file {path} is empty", reason="no_token")
    return token
