"""Answers of people on their way to the questions of an agent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Answers:
    """The oldest answer belongs to the oldest open question; `taken` is told the number of that question.

    A question keeps its answer, so that a guest may ask for it again.
    """

    def __init__(self, taken: Callable[[int], None]) -> None:
        self._taken = taken
        self._waiting: deque[str] = deque()
        self._of_question: dict[int, str] = {}
        self._open: set[int] = set()
        self._changed = asyncio.Event()

    @property
    def awaited(self) -> bool:
        """Whether the guest waits for one, also for a question of an earlier life of this process."""
        return bool(self._open)

    def add(self, text: str, number: int = 0) -> None:
        """A new answer, or with a `number` one that found its question in an earlier life of this process."""
        if number:
            self._of_question[number] = text
        else:
            self._waiting.append(text)
        self._changed.set()
        self._changed.clear()

    async def wait(self, number: int, timeout_s: float) -> str | None:
        """The answer to question `number`, counted from 1; None when there is none in time."""
        if number not in self._of_question:
            self._open.add(number)
        try:
            async with asyncio.timeout(timeout_s):
                while not self._settle(number):
                    await self._changed.wait()
        except TimeoutError:
            return None
        return self._of_question[number]

    def _settle(self, number: int) -> bool:
        while self._open and self._waiting:
            first = min(self._open)
            self._open.discard(first)
            if first not in self._of_question:
                self._of_question[first] = self._waiting.popleft()
                self._taken(first)
        return number in self._of_question
