"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
PAGE = 200


class Paged(Generic[Item]):
    """Awaited, it is all items in one list; iterated, one page is asked for after the other, as far as one reads."""

    def __init__(self, page: Callable[[str, int], Awaitable[tuple[Sequence[Item], str]]], limit: int = 0) -> None:
        """`page(token, size) -> (items, next token)`; with a limit the first so many."""
        self._page = page
        self._limit = limit

    def __await__(self) -> Generator[Any, None, Sequence[Item]]:
        return self._all().__await__()

    async def __aiter__(self) -> AsyncGenerator[Item, None]:
        left, token = self._limit, ""
        while True:
            items, token = await self._page(token, min(PAGE, left) if left else PAGE)
            for item in items:
                yield item
            left -= len(items) if left else 0
            if not token or (self._limit and left <= 0):
                return

    async def _all(self) -> Sequence[Item]:
        return [item async for item in self]
