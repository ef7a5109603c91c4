"""The link under bad conditions: broken streams, repeated messages, acknowledgements that stay away."""

from __future__ import annotations

import asyncio
import random
import subprocess
from pathlib import Path

import pytest

from hostd import messages as m
from hostd.link import stream
from hostd.link.channel import Endpoint
from hostd.link.client import Link
from hostd.ports import Isolation
from tests.fakes.control_plane import ControlPlane, logs, until
from tests.fakes.host_process import HostProcess
from tests.integration.hostd.conftest import Hosts


def resent(messages: list[int]) -> list[int]:
    """Numbers from the first one on that does not follow its predecessor."""
    for index in range(1, len(messages)):
        if messages[index] <= messages[index - 1]:
            return messages[index:]
    return []


async def test_broken_streams_lose_and_repeat_nothing(control: ControlPlane, hosts: Hosts) -> None:
    dice = random.Random(7)
    await hosts().start()
    host = await control.host()
    control.repeat = True
    attempts = [f"at_{number}" for number in range(6)]
    for attempt in attempts:
        control.assign(host, attempt, input={"sim": {"logs": 200, "run_for_ms": dice.randrange(400)}})
    for _ in range(4):
        await asyncio.sleep(dice.random() * 0.2)
        await control.drop(host)
    finished = await control.finished(host, len(attempts))
    assert sorted(item.attempt.attempt_id for item in finished) == attempts
    for attempt in attempts:
        assert logs(host, attempt) == [f"line {number} of 200" for number in range(1, 201)]
    assert len(control.hosts) == 1, "one boot id over all streams"


async def test_what_was_not_acknowledged_is_sent_again(control: ControlPlane, hosts: Hosts) -> None:
    process = await hosts().start()
    host = await control.host()
    control.withhold_acks = True
    control.assign(host, "at_one", input={"sim": {}})
    await control.finished(host)
    kept = list((process.state_dir / "attempts").glob("*.json"))
    assert [path.stem for path in kept] == ["at_one"], "the result stays on disk until it is acknowledged"
    await control.drop(host)
    await until(lambda: resent(host.messages), "everything is sent again")
    again = resent(host.messages)
    assert again == list(range(again[0], again[0] + len(again))), "in order, without a gap"
    control.withhold_acks = False
    await control.drop(host)
    await until(lambda: not kept[0].exists(), "acknowledged")
    assert len(host.of("finished")) == 1


async def test_a_restarted_control_plane_is_found_again(control: ControlPlane, hosts: Hosts) -> None:
    await hosts().start()
    host = await control.host()
    control.assign(host, "at_one", input={"sim": {"run_for_ms": 500}})
    await until(lambda: host.of("running"), "the attempt runs")
    await control.stop()
    await asyncio.sleep(0.3)
    await control.start()
    (finished,) = await control.finished(host)
    assert finished.cause == ""


async def test_a_wrong_token_is_said_and_never_logged(control: ControlPlane, hosts: Hosts) -> None:
    process = await hosts().start(token="some-other-token-0815")
    await until(lambda: "UNAUTHENTICATED" in process.words(), "the refusal is logged")
    assert "check the host's token" in process.words()
    assert "some-other-token-0815" not in process.words()
    assert not control.hosts


class Nobody:
    """Says hello to no hello, and never ends."""

    def hello(self) -> m.Hello:
        return m.Hello("", "0", "boot_1", m.Capacity(1, 1, 1, 1), (), Isolation.SIM, {}, (), (), ())

    def connected(self, welcome: m.Welcome) -> None: ...
    def disconnected(self) -> None: ...
    def handle(self, event: m.ControlEvent) -> None: ...


async def test_a_connection_that_answers_nothing_is_left_for_a_new_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "WELCOME_S", 0.3)
    taken: list[asyncio.StreamWriter] = []
    server = await asyncio.start_unix_server(lambda _, writer: taken.append(writer), folder / "mute.sock")
    link = Link(Endpoint(f"unix:{folder / 'mute.sock'}", "token"))
    running = asyncio.ensure_future(link.run(Nobody()))
    try:
        await until(lambda: len(taken) >= 3, "a new connection is tried again and again")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await link.close()
        for writer in taken:
            writer.close()
        server.close()


async def test_a_silent_control_plane_is_left_for_a_new_stream(control: ControlPlane, hosts: Hosts) -> None:
    await hosts().start()
    host = await control.host()
    control.silent = True
    await until(lambda: host.streams >= 2, "the stream is replaced")
    control.silent = False
    assert host.numbers == list(range(1, host.streams + 1))
    control.assign(host, "at_one", input={"sim": {}})
    await control.finished(host)


@pytest.fixture
def certificate(folder: Path) -> Path:
    """A self-signed certificate for localhost, with its key beside it."""
    path = folder / "control.crt"
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        "-keyout", str(path.with_suffix(".key")), "-out", str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return path


async def test_over_tcp_the_control_plane_must_prove_who_it_is(folder: Path, certificate: Path) -> None:
    plane = ControlPlane(folder / "unused.sock", certificate=certificate)
    await plane.start()
    trusting = HostProcess(folder / "a", plane.address, "--ca", str(certificate))
    doubting = HostProcess(folder / "b", plane.address)
    try:
        await doubting.start()
        await trusting.start()
        host = await plane.host()
        plane.assign(host, "at_one", input={"sim": {}})
        await plane.finished(host)
        await until(lambda: "UNAVAILABLE" in doubting.words(), "the stranger is refused")
        assert len(plane.hosts) == 1
    finally:
        await trusting.end()
        await doubting.end()
        await plane.stop()
