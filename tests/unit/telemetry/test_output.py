"""When what is said with every call is written."""

from __future__ import annotations

import asyncio
import io
import threading

import pytest

from telemetry.logs import Output


class File(io.StringIO):
    """Counts how often it is written to."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


@pytest.fixture
def file() -> File:
    return File()


def test_without_a_loop_a_line_is_written_at_once(file: File) -> None:
    Output(file).info("one")
    assert file.getvalue() == "one\n"


async def test_lines_of_one_turn_are_one_write(file: File) -> None:
    output = Output(file)
    for number in range(3):
        output.info(f"{number}")
    assert file.writes == 0
    await asyncio.sleep(0)
    assert (file.getvalue(), file.writes) == ("0\n1\n2\n", 1)
    output.info("3")
    await asyncio.sleep(0)
    assert (file.getvalue(), file.writes) == ("0\n1\n2\n3\n", 2)


@pytest.mark.parametrize("level", ["warning", "error", "critical"])
async def test_what_is_grave_is_written_at_once_behind_what_was_said_before(file: File, level: str) -> None:
    output = Output(file)
    output.info("one")
    getattr(output, level)("two")
    assert file.getvalue() == "one\ntwo\n"


def test_a_loop_that_stops_before_it_writes_loses_nothing(file: File) -> None:
    output = Output(file)

    async def say(line: str) -> None:
        output.info(line)

    loop = asyncio.new_event_loop()
    loop.call_soon(loop.stop)
    task = loop.create_task(say("one"))
    loop.run_forever()  # one turn: it ends before what was said in it is written
    assert (task.done(), file.getvalue()) == (True, "")
    loop.close()
    asyncio.run(say("two"))
    output.info("three")
    assert file.getvalue() == "one\ntwo\nthree\n"


async def test_lines_of_several_threads_are_all_there(file: File) -> None:
    output = Output(file)

    def say(name: int) -> None:
        for number in range(500):
            output.info(f"{name} {number}")

    threads = [threading.Thread(target=say, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for number in range(500):
        output.info(f"here {number}")
        await asyncio.sleep(0)
    for thread in threads:
        thread.join()
    await asyncio.sleep(0)
    said = file.getvalue().splitlines()
    assert len(set(said)) == len(said) == 2500


async def test_a_file_that_cannot_be_written_ends_no_work(file: File) -> None:
    file.close()
    Output(file).error("one")
