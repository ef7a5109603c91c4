"""Answers of people on their way to the questions of an agent."""

from __future__ import annotations

import asyncio


class Answers:
    """By the number of the question. A question keeps its answer, so that a guest may ask for it again."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._open: set[int] = set()
        self._changed = asyncio.Event()

    @property
    def awaited(self) -> bool:
        """Whether the guest waits for one, also for a question of an earlier life of this process."""
        return bool(self._open)

    def add(self, number: int, text: str) -> None:
        """The answer to question `number`, whether that was asked already or not; the first one counts."""
        self._texts.setdefault(number, text)
        self._open.discard(number)
        self._changed.set()
        self._changed.clear()

    async def wait(self, number: int, timeout_s: float) -> str | None:
        """The answer to question `number`, counted from 1; None when there is none in time."""
        if number not in self._texts:
            self._open.add(number)
        try:
            async with asyncio.timeout(timeout_s):
                while number not in self._texts:
                    await self._changed.wait()
        except TimeoutError:
            return None
        return self._texts[number]
