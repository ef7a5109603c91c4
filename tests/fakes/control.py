"""A whole control plane in this process: real SQLite, real gRPC on a real socket, real tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import grpc

from controlplane.app import running, secrets_of
from controlplane.config import Config
from swarm_sdk import Client
from tests.fakes.host import FakeHost

T = TypeVar("T")


@dataclass(frozen=True)
class Control:
    """One that runs."""

    config: Config

    @property
    def socket(self) -> Path:
        return self.config.socket

    @property
    def url(self) -> str:
        """Where it serves HTTP."""
        return (self.config.state_dir / "http.url").read_text().strip()

    def token(self, name: str = "") -> str:
        """The admin's, or that of a host."""
        home = self.config.state_dir
        return ((home / "hosts" / f"{name}.token") if name else home / "admin.token").read_text().strip()

    def client(self, **options: Any) -> Client:
        return Client.open(self.config.state_dir, **options)

    def host(self, name: str = "local") -> FakeHost:
        return FakeHost(self.socket, self.token(name), name)

    def channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(f"unix:{self.socket}")


@asynccontextmanager
async def control_plane(state_dir: Path, **settings: Any) -> AsyncIterator[Control]:
    """Runs until the block ends; call it again with the same folder for a restart. `secrets` as in the environment."""
    environment = settings.pop("secrets", {})
    config = replace(Config(state_dir=state_dir, hosts=("local", "other")), **settings)
    async with running(config, secrets_of(config, environment)):
        yield Control(config)


async def eventually(look: Callable[[], Awaitable[T]], wanted: T, within_s: float = 60) -> None:
    """Looks again until it sees what is wanted."""
    async with asyncio.timeout(within_s):
        while await look() != wanted:  # noqa: ASYNC110  # nothing tells a client of the change
            await asyncio.sleep(0.01)
