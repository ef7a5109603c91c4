"""Several iterators read as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Final, TypeVar

Item = TypeVar("Item")
AHEAD: Final = 16


async def merged(sources: Mapping[str, AsyncIterator[Item]]) -> AsyncGenerator[tuple[str, Item], None]:
    """(name, item) in the order of arrival until all sources end; the first that fails ends the others."""
    queue: asyncio.Queue[tuple[str, Item] | Exception | None] = asyncio.Queue(AHEAD)

    async def forward(name: str, source: AsyncIterator[Item]) -> None:
        try:
            async for item in source:
                await queue.put((name, item))
            await queue.put(None)
        except Exception as error:  # noqa: BLE001  # raised where the items are read
            await queue.put(error)

    tasks = [asyncio.create_task(forward(name, source)) for name, source in sources.items()]
    try:
        for _ in tasks:
            while (found := await queue.get()) is not None:
                if isinstance(found, Exception):
                    raise found
                yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
