from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from controlplane.api.stages.feed import AHEAD, Feeds
from controlplane.domain.call import Principal, Role


async def test_a_handler_ends_with_its_reader() -> None:
    """Wherever it stands: here it waits for room, and what it holds open must not wait for a collection."""
    said, ended = 0, asyncio.Event()

    async def handler() -> AsyncGenerator[Message, None]:
        nonlocal said
        try:
            while True:
                said += 1
                yield Empty()
        finally:
            ended.set()

    feeds = Feeds()
    async with aclosing(feeds.follow(handler(), lambda: Principal("alice", Role.ADMIN, "default"))) as answers:
        await anext(answers)
        while said <= AHEAD + 1:  # noqa: ASYNC110  # nothing tells that it stands still
            await asyncio.sleep(0)
        assert not ended.is_set()
    assert ended.is_set()
    feeds.end()
