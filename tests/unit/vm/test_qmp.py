from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostd.drivers.qemu.qmp import LONGEST_LINE, MOST_SKIPPED, LineParser, Qmp, QmpError, parse_message

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\n'


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_the_parser_refuses_or_understands_any_bytes(chunks: list[bytes]) -> None:
    parser = LineParser()
    for chunk in chunks:
        parser.feed(chunk)
        try:
            while (message := parser.next()) is not None:
                assert isinstance(message, dict)
        except QmpError:
            return


@given(st.lists(st.integers(min_value=1, max_value=40), max_size=40), st.integers(min_value=1, max_value=5))
def test_messages_do_not_depend_on_how_the_stream_is_cut(cuts: list[int], count: int) -> None:
    stream = b"".join(b'{"return": %d}\r\n' % i for i in range(count))
    parser, found = LineParser(), []
    while stream:
        cut = cuts.pop() if cuts else len(stream)
        parser.feed(stream[:cut])
        stream = stream[cut:]
        while (message := parser.next()) is not None:
            found.append(message["return"])
    assert found == list(range(count))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"return"',
        b"\xff\xfe",
        b'{"return": 1, "error": {}}',
        b'{"unknown": 1}',
        b"{" * 50_000,
        b"[" * 50_000 + b"]" * 50_000,
        b'{"return": NaN',
    ],
)
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(QmpError):
        parse_message(line)


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    parser = LineParser()
    parser.feed(b"x" * LONGEST_LINE)
    assert parser.next() is None
    parser.feed(b"x")
    with pytest.raises(QmpError, match="more than"):
        parser.next()


class Vmm:
    """The other end of the control socket, played byte by byte."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.end.settimeout(0)

    async def heard(self, size: int = 4096) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.end, size)

    async def say(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.end, data)

    async def answer(self, value: object) -> dict[str, object]:
        command: dict[str, object] = json.loads(await self.heard())
        await self.say(json.dumps({"return": value, "id": command["id"]}).encode() + b"\r\n")
        return command


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Qmp, Vmm]]:
    ours, theirs = socket.socketpair()
    qmp, vmm = Qmp(ours), Vmm(theirs)
    try:
        yield qmp, vmm
    finally:
        qmp.close()
        theirs.close()


async def test_greeting_and_negotiation() -> None:
    async with connected() as (qmp, vmm):
        opening = asyncio.create_task(qmp.open())
        await vmm.say(GREETING)
        assert (await vmm.answer({}))["execute"] == "qmp_capabilities"
        await opening


async def test_events_and_late_answers_are_passed_over() -> None:
    async with connected() as (qmp, vmm):
        asking = asyncio.create_task(qmp.execute("query-status"))
        command = json.loads(await vmm.heard())
        await vmm.say(b'{"event": "STOP", "id": %d}\n{"return": "late", "id": 0}\n' % command["id"])
        await vmm.say(b'{"return": "right", "id": %d}\n' % command["id"])
        assert await asking == "right"


async def test_an_answer_for_nobody_is_never_taken_for_ours() -> None:
    async with connected() as (qmp, vmm):
        asking = asyncio.create_task(qmp.execute("query-status", timeout=0.2))
        await vmm.heard()
        await vmm.say(b'{"return": {}}\n')
        with pytest.raises(QmpError, match="did not answer"):
            await asking


async def test_a_flood_of_events_ends_the_patience() -> None:
    async with connected() as (qmp, vmm):
        asking = asyncio.create_task(qmp.execute("stop"))
        await vmm.heard()
        await vmm.say(b'{"event": "X"}\n' * (MOST_SKIPPED + 1))
        with pytest.raises(QmpError, match="too much"):
            await asking


async def test_a_refusal_names_its_reason_shortly() -> None:
    async with connected() as (qmp, vmm):
        asking = asyncio.create_task(qmp.execute("cont"))
        command = json.loads(await vmm.heard())
        reason = "no " * 1000
        await vmm.say(json.dumps({"error": {"class": "E", "desc": reason}, "id": command["id"]}).encode() + b"\n")
        with pytest.raises(QmpError) as caught:
            await asking
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("said", [b"", b'{"retu'])
async def test_a_hang_up_is_an_error_and_not_a_hang(said: bytes) -> None:
    async with connected() as (qmp, vmm):
        asking = asyncio.create_task(qmp.execute("stop"))
        await vmm.heard()
        await vmm.say(said)
        vmm.end.close()
        with pytest.raises(QmpError, match="closed"):
            await asking


async def test_commands_do_not_interleave() -> None:
    async with connected() as (qmp, vmm):
        first, second = (asyncio.create_task(qmp.execute(name)) for name in ("one", "two"))
        assert (await vmm.answer(1))["execute"] == "one"
        assert (await vmm.answer(2))["execute"] == "two"
        assert [await first, await second] == [1, 2]


async def test_a_command_that_was_begun_needs_one_more_byte() -> None:
    async with connected() as (qmp, vmm):
        await qmp.begin("cont")
        begun = await vmm.heard()
        with pytest.raises(json.JSONDecodeError):
            json.loads(begun)
        assert json.loads(begun + qmp.rest())["execute"] == "cont"


async def test_nothing_can_be_said_inside_a_begun_command() -> None:
    async with connected() as (qmp, _):
        await qmp.begin("cont")
        with pytest.raises(QmpError, match="half said"):
            await qmp.execute("stop")


async def test_finish_waits_for_the_event_after_the_answer() -> None:
    async with connected() as (qmp, vmm):
        await qmp.begin("migrate-incoming", {"uri": "fd:state"})
        begun = await vmm.heard()
        finishing = asyncio.create_task(qmp.finish_until("MIGRATION", "completed", 5))
        command = json.loads(begun + await vmm.heard())
        await vmm.say(b'{"return": {}, "id": %d}\n' % command["id"])
        await vmm.say(b'{"event": "MIGRATION", "data": {"status": "active"}}\n')
        await asyncio.sleep(0.01)
        assert not finishing.done()
        await vmm.say(b'{"event": "MIGRATION", "data": {"status": "completed"}}\n')
        await finishing


async def test_a_failed_event_fails_the_command() -> None:
    async with connected() as (qmp, vmm):
        await qmp.begin("migrate-incoming")
        command = json.loads(await vmm.heard() + b"}")
        finishing = asyncio.create_task(qmp.finish_until("MIGRATION", "completed", 5))
        await vmm.heard()
        await vmm.say(b'{"return": {}, "id": %d}\n' % command["id"])
        await vmm.say(b'{"event": "MIGRATION", "data": {"status": "failed"}}\n')
        with pytest.raises(QmpError, match="failed"):
            await finishing
