"""The way in: `async with Client.open(state_dir) as swarm: await swarm.tickets.list()`."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from swarm_sdk.audit import Audit
from swarm_sdk.coordinator import Coordinator
from swarm_sdk.errors import UnauthenticatedError
from swarm_sdk.hosts import Hosts
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
    ) -> None:
        """`target` is a gRPC target such as `unix:/var/lib/swarm/controlplane.sock`; TCP needs TLS `credentials`."""
        self.transport = Transport(target, token, credentials=credentials, timeout_s=timeout_s, retries=retries)
        self.tickets = Tickets(self.transport)
        self.projects = Projects(self.transport)
        self.pull_requests = PullRequests(self.transport)
        self.vms = Vms(self.transport)
        self.hosts = Hosts(self.transport)
        self.coordinator = Coordinator(self.transport)
        self.registry = Registry(self.transport)
        self.audit = Audit(self.transport)

    @classmethod
    def open(cls, state_dir: str | Path, *, timeout_s: float = CALL_TIMEOUT_S, retries: int = RETRIES) -> Self:
        """A client of the control plane on this machine that owns `state_dir`."""
        home = Path(state_dir).absolute()
        return cls(f"unix:{home / SOCKET}", read_token(home / TOKEN), timeout_s=timeout_s, retries=retries)

    @classmethod
    def from_environment(cls, state_dir: str | Path) -> Self:
        """SWARM_TARGET and SWARM_TOKEN_FILE (and SWARM_CA_FILE for TLS) where they are set, else `open(state_dir)`."""
        target = os.environ.get("SWARM_TARGET", "")
        token = os.environ.get("SWARM_TOKEN_FILE", "")
        authority = os.environ.get("SWARM_CA_FILE", "")
        if not target:
            return cls.open(state_dir)
        credentials = grpc.ssl_channel_credentials(Path(authority).read_bytes()) if authority else None
        return cls(target, read_token(Path(token or Path(state_dir) / TOKEN)), credentials=credentials)

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
