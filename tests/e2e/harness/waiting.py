"""Waiting for what other processes do. A deadline here says that a test hangs, nothing about speed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 60.0
POLL_S = 0.05


def until(condition: Callable[[], T], what: str, *, patience_s: float = PATIENCE_S) -> T:
    """The first true result of `condition`."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s:.0f} s in vain: {what}")
        time.sleep(POLL_S)
    return found


async def eventually(condition: Callable[[], Awaitable[T]], what: str, *, patience_s: float = PATIENCE_S) -> T:
    """As `until`, for a coroutine function."""
    deadline = time.monotonic() + patience_s
    while not (found := await condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s:.0f} s in vain: {what}")
        await asyncio.sleep(POLL_S)
    return found
