"""Ending tasks that run until they are told."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def end(task: asyncio.Task[None] | None) -> None:
    """Cancels it and waits until it is over; raises what it failed with before. None: it was never begun."""
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
