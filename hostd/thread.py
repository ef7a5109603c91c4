"""Blocking calls that make something: cancelled, what they made is undone and not lost in its thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def make(undo: Callable[[T], object], function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """``function(...)`` in a thread. When the caller is cancelled meanwhile, its result goes to `undo`."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        if work.exception() is None:
            undo(work.result())
        raise
