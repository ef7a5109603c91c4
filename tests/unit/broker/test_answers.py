from __future__ import annotations

import asyncio

from hostd.broker.answers import Answers


async def test_an_answer_goes_to_its_question_and_stays_there() -> None:
    answers = Answers()
    second = asyncio.create_task(answers.wait(2, 5))
    first = asyncio.create_task(answers.wait(1, 5))
    await asyncio.sleep(0)
    answers.add(2, "two")
    answers.add(1, "one")
    assert (await first, await second) == ("one", "two")
    assert await answers.wait(1, 0.01) == "one"


async def test_an_answer_may_come_before_its_question_and_again() -> None:
    answers = Answers()
    answers.add(3, "third")
    answers.add(3, "another")
    assert await answers.wait(3, 5) == "third"
    assert answers.awaited is False


async def test_without_an_answer_there_is_none_and_the_question_stays_open() -> None:
    answers = Answers()
    assert await answers.wait(1, 0.01) is None
    assert answers.awaited is True
    answers.add(1, "late")
    assert await answers.wait(1, 5) == "late"
