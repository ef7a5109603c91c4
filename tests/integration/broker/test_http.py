"""Raw sockets against the broker: what is malformed, foreign or too much is refused, and nothing else suffers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostd.broker import client
from hostd.ports import Capability, Limits
from tests.fakes.brokerage import BROKER, Brokerage, Guest, agit, brokerage

GOOD = b"GET /v1/work HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"


def ask(guest: Guest, text: bytes) -> tuple[int, bytes]:
    """Status and whole answer to raw bytes, in which HOST stands for the right Host."""
    answer = guest.exchange(text.replace(b"HOST", f"127.0.0.1:{guest.port}".encode()))
    return (int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/1.1 ") else 0), answer


def body(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def events(*items: dict[str, Any]) -> bytes:
    return json.dumps({"events": list(items)}).encode()


def log(seq: int, text: str = "x") -> dict[str, Any]:
    return {"seq": seq, "type": "log", "text": text}


async def test_work_comes_with_fresh_entropy_and_time(house: Brokerage) -> None:
    guest = await house.attach("at_1")
    first, second = (body(ask(guest, GOOD)[1]) for _ in range(2))
    assert first["ticket_key"] == "at_1"
    assert first["entropy"] != second["entropy"]
    assert int(second["time_ns"]) > int(first["time_ns"])
    await house.records.until(lambda: house.records.first_bytes)


async def test_without_work_there_is_no_content(house: Brokerage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await house.broker.attach(Capability("at_1", 1, {}, {}, None), listener.fileno(), -1)
        assert ask(Guest("at_1", listener.getsockname()[1], "", None, listener), GOOD)[0] == 204


NOT_HTTP = [
    (
        b"POST /v1/events HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (b"POST /v1/events HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400),
    (b"POST /v1/events HTTP/1.1\r\nHost: HOST\r\nContent-Length: +4\r\n\r\nabcd", 400),
    (b"POST /v1/events HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0x4\r\n\r\nabcd", 400),
    (b"POST /v1/events HTTP/1.1\r\nHost: HOST\r\nContent-Length: 18446744073709551615\r\n\r\n", 400),
    (b"POST /v1/events HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /v1/events HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400),
    (b"GET /v1/work HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n", 400),
    (b"GET /v1/work HTTP/1.1\r\n\r\n", 400),
    (b"GET http://HOST/v1/work HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
    (b"CONNECT example.org:443 HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
    (b"GET /v1/work HTTP/1.1\r\nHost: HOST\r\nX: a\r\n b\r\n\r\n", 400),
    (b"GET /v1/work HTTP/1.1\nHost: HOST\n\n", 400),
    (b"GET /v1/work HTTP/1.1\r\nHost: HOST\nX: y\r\n\r\n", 400),
    (b"GET /v1/work HTTP/1.1\r\nHost : HOST\r\n\r\n", 400),
    (b"GET  /v1/work HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
    (b"GET /v1/work HTTP/1.0\r\nHost: HOST\r\n\r\n", 400),
    (b"GET /v1/work HTTP/2.0\r\nHost: HOST\r\n\r\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    (b"GET /v1/../v1/work HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
    (b"GET /v1/%2e%2e/work HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
    (b"GET //v1/work HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
    (b"GET /v1/work?x=y&& HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
    (b"GET /v1/wo\x00rk HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
    (b"GET /v1/work HTTP/1.1\r\nHost: HOST\r\nX: \x00\r\n\r\n", 400),
    (b"GET /v1/work HTTP/1.1\r\nHost: HOST\r\nExpect: 200-ok\r\n\r\n", 400),
    (b"GET /v1/work HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3\r\n\r\nabc", 400),
    (b"\r\nGET /v1/work HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400),
    (b"GET /v1/work HTTP/1.1\r\nHost: elsewhere\r\n\r\n", 403),
    (b"GET /v1/work HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer x\r\n\r\n", 403),
    (b"GET /v1/work HTTP/1.1\r\nHost: HOST\r\nCookie: a=b\r\n\r\n", 403),
    (
        b"GET /git/other.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        403,
    ),
    (b"PUT /v1/artifacts/a/b HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\n\r\nx", 403),
    (b"PUT /v1/artifacts/.hidden HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\n\r\nx", 403),
    (b"GET /v1/secrets HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", 404),
    (b"GET /v1/agent HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", 400),
    (b"GET /v1/agent?digest=" + b"a" * 64 + b" HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", 404),
    (b"DELETE /v1/work HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", 405),
    (b"POST /v1/events HTTP/1.1\r\nHost: HOST\r\n\r\n", 411),
    (
        b"POST /v1/events HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 9999999\r\n\r\n",
        413,
    ),
    (b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: HOST\r\n\r\n", 414),
    (b"POST /v1/events HTTP/1.1\r\nHost: HOST\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 415),
    (b"GET /v1/work HTTP/1.1\r\nHost: HOST\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431),
    (b"GET /v1/work HTTP/1.1\r\nHost: HOST\r\nX: " + b"y" * 20000 + b"\r\n\r\n", 431),
]


async def test_what_is_not_plain_http_is_refused(house_of_many: Brokerage, subtests: pytest.Subtests) -> None:
    guest = house_of_many.guests[0]
    for text, status in NOT_HTTP:
        with subtests.test(text=text[:100]):
            got, answer = ask(guest, text)
            assert got == status, answer
            if answer.count(b"\r\n\r\n") == 1:
                assert set(body(answer)) == {"code", "message"}
            assert answer.count(b"HTTP/1.1 ") == 1  # what follows a bad head is never taken for a request
    assert ask(guest, GOOD)[0] == 200


BAD_CHUNKS = [
    b"g\r\nabc\r\n0\r\n\r\n",
    b"3;x=y\r\nabc\r\n0\r\n\r\n",
    b"3\nabc\r\n0\r\n\r\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"-1\r\n",
    b" 3\r\nabc\r\n0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"3\r\nabc0\r\n\r\n",
]


async def test_chunks_are_read_strictly(house_of_many: Brokerage, subtests: pytest.Subtests) -> None:
    head = b"POST /v1/events HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    for chunks in BAD_CHUNKS:
        with subtests.test(chunks=chunks):
            status, answer = ask(house_of_many.guests[0], head + chunks)
            assert status == 400, answer
            assert answer.count(b"HTTP/1.1 ") == 1


EVENTS = [
    (b"[]", 400),
    (b"{", 400),
    (b'{"events": []}', 400),
    (b'{"events": [{"seq": 1, "type": "log"}], "attempt_id": "at_2"}', 400),
    (b'{"events": [{"seq": 1, "type": "log"}], "events": []}', 400),
    (b'{"events": [{"seq": 0, "type": "log"}]}', 400),
    (b'{"events": [{"seq": -1, "type": "log"}]}', 400),
    (b'{"events": [{"seq": 18446744073709551616, "type": "log"}]}', 400),
    (b'{"events": [{"seq": 2, "type": "log"}, {"seq": 1, "type": "log"}]}', 400),
    (b'{"events": [{"seq": 1, "type": "blocked", "text": "forged"}]}', 400),
    (b'{"events": [{"seq": 1, "type": "launch"}]}', 400),
    (b'{"events": [{"seq": 1, "type": "log", "text": 5}]}', 400),
    (b'{"events": [{"seq": 1, "type": "log", "text": "\\ud800"}]}', 400),
    (b'{"events": [{"seq": 1, "type": "log", "data": {"x": NaN}}]}', 400),
    (b'{"events": [{"seq": 1, "type": "log", "data": {"x": 1e999}}]}', 400),
    (b'{"events": [{"seq": 1, "type": "log", "text": "\xff"}]}', 400),
    (b'{"events": ' + b"[" * 100000 + b"]" * 100000 + b"}", 400),
    (b'{"events": [{"seq": 1, "type": "log", "data": {"x": ' + b"[" * 500 + b"]" * 500 + b"}}]}", 400),
    (events(*(log(n) for n in range(1, 300))), 400),
    (events(log(1, "x" * 9000)), 413),
    (events(log(1, "é\u202e\u0000\u200b"), log(5)), 200),
]


async def test_events_are_checked(house_of_many: Brokerage, subtests: pytest.Subtests) -> None:
    for data, status in EVENTS:
        with subtests.test(data=data[:100]):
            answer = house_of_many.guests[0].request("POST", "/v1/events", data)
            assert answer.startswith(b"HTTP/1.1 %d" % status), answer[:400]
            if status == 200:
                assert body(answer) == {"ack": "5"}


RESULTS = [
    b'{"status": "done"}',
    b'{"status": "succeeded", "phase": "party"}',
    b'{"status": "succeeded", "head": "main"}',
    b'{"status": "succeeded", "head": "' + b"a" * 40 + b'"}',
    b'{"exit_code": 99999999999}',
    b"null",
]


async def test_results_are_checked(house_of_many: Brokerage, subtests: pytest.Subtests) -> None:
    for data in RESULTS:
        with subtests.test(data=data):
            answer = house_of_many.guests[0].request("POST", "/v1/result", data)
            assert answer.split(b" ")[1] in (b"400", b"409"), answer
    assert house_of_many.records.outcomes == []


async def test_artifacts_are_kept_and_capped(house: Brokerage) -> None:
    guest = await house.attach("at_1", limits=Limits(artifact_bytes=1000, artifacts_bytes=1500))
    folder = house.root / "artifacts" / "at_1"
    answer = guest.request("PUT", "/v1/artifacts/a.txt", b"x" * 1000)
    assert answer.startswith(b"HTTP/1.1 200")
    assert guest.request("PUT", "/v1/artifacts/b.txt", b"x" * 1001).startswith(b"HTTP/1.1 413")
    assert guest.request("PUT", "/v1/artifacts/c.txt", b"x" * 600).startswith(b"HTTP/1.1 413")
    (folder / "link").symlink_to("/etc/shadow")
    assert guest.request("PUT", "/v1/artifacts/link", b"x").startswith(b"HTTP/1.1 200")
    assert {path.name for path in folder.iterdir()} == {"a.txt", "link"}
    assert (folder / "link").read_bytes() == b"x"
    assert not (folder / "link").is_symlink()


async def test_a_guest_gets_nowhere_with_what_belongs_to_another(house: Brokerage) -> None:
    """I12: ids, paths, tokens and Host of B, replayed by A over A's own socket."""
    theirs = await house.attach("at_b", upstream=house.upstream, work={"ticket_key": "B"})
    ours = await house.attach("at_a", work={"ticket_key": "A"})
    fetch = "git-upload-pack"
    here, there = f"127.0.0.1:{ours.port}", f"127.0.0.1:{theirs.port}"
    tries = [
        (f"GET /v1/work HTTP/1.1\r\nHost: {there}\r\n\r\n", 403),
        (f"GET http://{there}/v1/work HTTP/1.1\r\nHost: {there}\r\n\r\n", 400),
        (f"GET /v1/work HTTP/1.1\r\nHost: {here}\r\nAuthorization: Bearer at_b\r\n\r\n", 403),
        (f"GET /v1/attempts/at_b/work HTTP/1.1\r\nHost: {here}\r\nConnection: close\r\n\r\n", 404),
        (f"GET /v1/work?attempt=at_b HTTP/1.1\r\nHost: {here}\r\nX-Attempt: at_b\r\nConnection: close\r\n\r\n", 200),
        (
            f"GET /git/at_b.git/info/refs?service={fetch} HTTP/1.1\r\nHost: {here}\r\nConnection: close\r\n\r\n",
            403,
        ),
        (
            f"GET /git/repo.git/info/refs?service={fetch} HTTP/1.1\r\nHost: {here}\r\nConnection: close\r\n\r\n",
            404,
        ),
    ]
    for text, status in tries:
        got, answer = ask(ours, text.encode())
        assert got == status, answer
        if got == 200:
            assert body(answer)["ticket_key"] == "A"
    line = events(log(1)).decode().replace("{", '{"attempt_id": "at_b",', 1).encode()
    assert ours.request("POST", "/v1/events", line).startswith(b"HTTP/1.1 400")
    await house.records.until(lambda: len(house.records.denied) >= 5)
    assert {attempt for attempt, _ in house.records.denied} == {"at_a"}
    assert not any(attempt == "at_b" for attempt, _, _ in house.records.batches)
    assert body(ask(theirs, GOOD)[1])["ticket_key"] == "B"
    await agit(house.root, "clone", "-q", theirs.url, str(house.root / "b"))


async def test_too_many_violations_are_reported_once(house: Brokerage) -> None:
    guest = await house.attach("at_1", limits=Limits(violations=5))
    for _ in range(8):
        ask(guest, b"GET /nowhere HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n")
    await house.records.until(lambda: house.records.violations)
    assert [attempt for attempt, _ in house.records.violations] == ["at_1"]
    assert house.records.denied[0] == ("at_1", "route, GET /nowhere")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def status_of(pid: int) -> dict[str, str]:
    """Fields of the process as the kernel shows them."""
    return dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)


def memory_kib(pid: int) -> int:
    return int(status_of(pid)["VmRSS"].split()[0])


async def test_floods_are_slowed_down_and_memory_stays_flat(house: Brokerage) -> None:
    flooder = await house.attach("at_1", limits=Limits(events_bytes_per_s=200_000, violations=10**9))
    calm = await house.attach("at_2")
    batch = events(*(log(n, "y" * 3000) for n in range(1, 101)))
    await asyncio.to_thread(flooder.request, "POST", "/v1/events", batch)
    before = memory_kib(house.broker.pid)

    def flood() -> list[bytes]:
        answers = [flooder.request("POST", "/v1/events", batch)[:12] for _ in range(60)]
        with socket.create_connection(("127.0.0.1", flooder.port)) as sock:
            sock.settimeout(0.5)
            try:
                for _ in range(200):
                    sock.sendall(b"A" * 65536)
            except OSError:
                pass
        return answers

    floods = [asyncio.to_thread(flood) for _ in range(3)]
    answers = [answer for each in await asyncio.gather(*floods) for answer in each]
    idle = [socket.create_connection(("127.0.0.1", flooder.port)) for _ in range(100)]
    assert ask(calm, GOOD)[0] == 200
    for sock in idle:
        sock.close()
    assert answers.count(b"HTTP/1.1 429") > 100
    assert memory_kib(house.broker.pid) - before < 40_000
    assert ask(calm, GOOD)[0] == 200


async def test_requests_beyond_the_rate_are_told_to_wait(house: Brokerage) -> None:
    guest = await house.attach("at_1")
    answer = guest.exchange(
        GOOD.replace(b"Connection: close\r\n", b"").replace(b"HOST", b"127.0.0.1:%d" % guest.port) * 800, 1
    )
    assert b"HTTP/1.1 429" in answer
    assert b"Retry-After: 1" in answer


async def test_a_killed_broker_comes_back_with_all_capabilities(house: Brokerage) -> None:
    first, second = await house.attach("at_1"), await house.attach("at_2", upstream=house.upstream)
    await house.broker.answer("at_1", 1, "yes")
    await asyncio.to_thread(first.request, "GET", "/v1/answer?number=1")
    await house.broker.answer("at_1", 2, "no")
    old = house.broker.pid
    os.kill(old, signal.SIGKILL)
    statuses = await asyncio.gather(*(asyncio.to_thread(ask, guest, GOOD) for guest in (first, second)))
    assert [status for status, _ in statuses] in ([200, 200], [0, 200], [200, 0], [0, 0])
    await asyncio.to_thread(wait_until, lambda: house.broker.pid not in (0, old))
    for guest in (first, second):
        status, answer = await asyncio.to_thread(ask, guest, GOOD)
        assert (status, body(answer)["ticket_key"]) == (200, guest.attempt_id)
    for number, text in ((1, "yes"), (1, "yes"), (2, "no")):
        answer = await asyncio.to_thread(first.request, "GET", f"/v1/answer?number={number}")
        assert body(answer) == {"text": text}
    await agit(house.root, "clone", "-q", second.url, str(house.root / "c"))


async def test_a_stuck_broker_is_replaced(house: Brokerage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_STOP_TIMEOUT_S", 0.2)
    monkeypatch.setattr(client, "SILENCE_S", 2.0)
    async with brokerage() as other:
        guest = await other.attach("at_1")
        old = other.broker.pid
        os.kill(old, signal.SIGSTOP)
        await asyncio.to_thread(wait_until, lambda: other.broker.pid not in (0, old))
        assert (await asyncio.to_thread(ask, guest, GOOD))[0] == 200


async def test_suspend_restore_and_detach(house: Brokerage) -> None:
    guest = await house.attach("at_1")
    hanging = socket.create_connection(("127.0.0.1", guest.port), timeout=5)
    hanging.sendall(f"GET /v1/answer HTTP/1.1\r\nHost: 127.0.0.1:{guest.port}\r\n\r\n".encode())
    await house.records.until(lambda: house.records.first_bytes)
    await house.broker.suspend("at_1")
    assert await asyncio.to_thread(hanging.recv, 100) == b""
    waiting = asyncio.create_task(asyncio.to_thread(ask, guest, GOOD))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await house.broker.restore("at_1")
    assert (await waiting)[0] == 200
    await house.broker.detach("at_1")
    await house.broker.detach("at_1")
    guest.listener.close()
    await asyncio.to_thread(wait_until, lambda: is_closed(guest))
    hanging.close()


def is_closed(guest: Guest) -> bool:
    try:
        ask(guest, GOOD)
    except ConnectionRefusedError:
        return True
    return False


async def test_the_broker_has_no_rights(house: Brokerage) -> None:
    fields = status_of(house.broker.pid)
    assert set(fields["Uid"].split()) == {str(BROKER)}
    assert fields["NoNewPrivs"].strip() == "1"
    if os.geteuid() == 0:
        assert {fields[name].strip() for name in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")} == {"0" * 16}
        assert fields["Groups"].strip() == ""
