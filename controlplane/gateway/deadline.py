"""How long a caller is ready to wait: `X-Request-Timeout` in seconds, or `grpc-timeout` as gRPC writes it.

And how long a reader is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import AsyncIterator, Awaitable
from typing import Final

from aiohttp import web

from controlplane.errors import DeadlineExceeded, InvalidInput

LONGEST_S: Final = 900.0
READER_S: Final = 60.0
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_GRPC: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECONDS: Final = re.compile(r"[0-9]{1,8}(\.[0-9]{1,9})?s?")


@contextlib.asynccontextmanager
async def deadline(request: web.BaseRequest) -> AsyncIterator[None]:
    """`DeadlineExceeded` once the caller's time is over."""
    seconds = wanted(request)
    timer = asyncio.timeout(None if math.isinf(seconds) else seconds)
    try:
        async with timer:
            yield
    except TimeoutError:
        if not timer.expired():
            raise
        raise DeadlineExceeded(f"not done within the {seconds:g} s that were asked for") from None


async def sent(sending: Awaitable[None]) -> None:
    """Waits for a slow reader, not for one that takes nothing."""
    try:
        async with asyncio.timeout(READER_S):
            await sending
    except TimeoutError:
        raise ConnectionResetError("the reader takes nothing") from None


def wanted(request: web.BaseRequest) -> float:
    """Seconds, at most `LONGEST_S`; infinity where the caller names none."""
    if given := request.headers.get("X-Request-Timeout"):
        if not _SECONDS.fullmatch(given):
            raise InvalidInput("X-Request-Timeout is a number of seconds, such as 2.5")
        return min(float(given.removesuffix("s")), LONGEST_S)
    if given := request.headers.get("Grpc-Timeout"):
        if not (found := _GRPC.fullmatch(given)):
            raise InvalidInput("grpc-timeout is a whole number and one of H, M, S, m, u, n, such as 500m")
        return min(int(found[1]) * _UNITS[found[2]], LONGEST_S)
    return math.inf
