"""Passwords as argon2id hashes. A few are worked on at a time, so that nobody can spend all our memory on guesses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from controlplane.domain.user import hashable
from controlplane.errors import RateLimited

T = TypeVar("T")

AT_ONCE: Final = 2
MOST_WAITING: Final = 64
HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)


class Argon2Passwords:
    """Implements identity.Passwords."""

    def __init__(self, hasher: PasswordHasher = HASHER) -> None:
        self._hasher = hasher
        self._pool = ThreadPoolExecutor(AT_ONCE, "passwords")
        self._waiting = 0
        # What the password of an unknown user is compared with, so that the answer takes as long.
        self._nobody = hasher.hash("nobody")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(password))

    async def fits(self, hashed: str, password: str) -> bool:
        if not hashable(password):
            return False
        return await self._run(lambda: self._verify(hashed or self._nobody, password)) and bool(hashed)

    def outdated(self, hashed: str) -> bool:
        return self._hasher.check_needs_rehash(hashed)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MOST_WAITING:
            raise RateLimited("too many are logging in at once; try again in a moment", retry_after_s=1.0)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1
