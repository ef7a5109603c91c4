"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
PAGE = 200


async def everything(page: Callable[[str, int], Awaitable[tuple[Sequence[Item], str]]], limit: int = 0) -> list[Item]:
    """All items of `page(token, size) -> (items, next token)`, or the first `limit` of them."""
    found: list[Item] = []
    token = ""
    while True:
        items, token = await page(token, min(PAGE, limit - len(found)) if limit else PAGE)
        found.extend(items)
        if not token or (limit and len(found) >= limit):
            return found
