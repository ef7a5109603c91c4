from __future__ import annotations

import asyncio

from hostd.broker.answers import Answers


async def test_the_oldest_answer_goes_to_the_oldest_question() -> None:
    taken: list[int] = []
    answers = Answers(taken.append)
    second = asyncio.create_task(answers.wait(2, 5))
    first = asyncio.create_task(answers.wait(1, 5))
    await asyncio.sleep(0)
    answers.add("one")
    answers.add("two")
    assert (await first, await second, taken) == ("one", "two", [1, 2])
    assert await answers.wait(1, 0.01) == "one"


async def test_an_answer_may_come_before_its_question_and_after_a_restart() -> None:
    answers = Answers(lambda _number: None)
    answers.add("third")
    assert await answers.wait(3, 5) == "third"
    answers.add("told before", 4)
    assert await answers.wait(4, 5) == "told before"


async def test_without_an_answer_there_is_none_and_the_question_stays_open() -> None:
    answers = Answers(lambda _number: None)
    assert await answers.wait(1, 0.01) is None
    answers.add("late")
    assert await answers.wait(1, 5) == "late"
