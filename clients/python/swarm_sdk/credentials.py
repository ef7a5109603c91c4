"""Logins of this user's programs, in a file that only the user can read, by the control plane that they are for."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from swarm.auth.v1.auth_pb2 import Tokens
from swarm_sdk.errors import UnauthenticatedError

EARLY_S = 30.0  # a token that ends sooner is exchanged first

Exchange = Callable[[str], Awaitable[Tokens]]


@dataclass(frozen=True, slots=True)
class Stored:
    access_token: str = field(repr=False)
    expires_at: float
    refresh_token: str = field(repr=False)

    @classmethod
    def of(cls, tokens: Tokens) -> Stored:
        return cls(tokens.access_token, tokens.access_expires_at.ToNanoseconds() / 1e9, tokens.refresh_token)


def credentials_file() -> Path:
    """SWARM_CREDENTIALS_FILE, else where programs of this user keep their configuration."""
    if named := os.environ.get("SWARM_CREDENTIALS_FILE"):
        return Path(named)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "swarm" / "credentials.json"


class StoredLogin:
    """The login at one control plane, which several programs may use at once."""

    def __init__(self, target: str, file: Path | None = None) -> None:
        self.target = target
        self._file = file or credentials_file()

    @property
    def exists(self) -> bool:
        return self.target in self._read()

    async def token(self, exchange: Exchange) -> str:
        """An access token that is good for a while; UnauthenticatedError once the login has ended."""
        if fresh := self._fresh():
            return fresh
        async with self._alone():
            # Another program may have been here: a refresh token that is used twice ends the login.
            if fresh := self._fresh():
                return fresh
            known = self._read().get(self.target)
            if known is None:
                raise UnauthenticatedError("not logged in: run `swarm login`", reason="no_token")
            try:
                tokens = await exchange(known["refresh_token"])
            except UnauthenticatedError:
                self._write(None)
                raise
            self._write(Stored.of(tokens))
            return tokens.access_token

    async def save(self, tokens: Tokens) -> None:
        async with self._alone():
            self._write(Stored.of(tokens))

    async def remove(self) -> None:
        async with self._alone():
            self._write(None)

    def _fresh(self) -> str:
        known = self._read().get(self.target)
        return str(known["access_token"]) if known and known["expires_at"] - EARLY_S > time.time() else ""

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as fault:
            raise UnauthenticatedError(f"cannot read {self._file}: {fault}", reason="no_token") from None
        return found if isinstance(found, dict) else {}

    def _write(self, stored: Stored | None) -> None:
        """Replaces the file, which is never there in part, nor for others to read."""
        known = self._read()
        known.pop(self.target, None)
        if stored is not None:
            known[self.target] = asdict(stored)
        fresh = self._file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as out:
            json.dump(known, out)
        fresh.replace(self._file)

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncGenerator[None, None]:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
