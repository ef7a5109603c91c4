"""Lets an attempt wait for the room of a VM that is about to end.

The control plane counts a result as the end of its attempt and places the next one at once; the VM of the first takes
a moment longer to go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from hostd.errors import HostFullError

T = TypeVar("T")


class Vacancy:
    """Signalled whenever a VM has ended."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()

    def signal(self) -> None:
        """A VM has ended: everybody who waits tries again."""
        self._ended.set()
        self._ended = asyncio.Event()

    async def claim(self, acquire: Callable[[], Awaitable[T]], patience_s: float) -> T:
        """What `acquire` answers, tried again after each end of a VM. `HostFullError` when none made room in time."""
        deadline = asyncio.get_running_loop().time() + patience_s
        while True:
            ended = self._ended
            try:
                return await acquire()
            except HostFullError as full:
                try:
                    async with asyncio.timeout_at(deadline):
                        await ended.wait()
                except TimeoutError:
                    raise full from None
