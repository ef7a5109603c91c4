"""REST as programs meet it: answers, errors, and what the edge itself refuses."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import zlib
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from tests.fakes.control import Control, control_plane

TICKETS = "/api/tickets"


async def make(web: aiohttp.ClientSession, title: str = "Port it", **headers: str) -> dict[str, Any]:
    async with web.post(TICKETS, json={"title": title}, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        found: dict[str, Any] = await answer.json()
        return found


async def refused(answer: aiohttp.ClientResponse, status: int, code: str) -> dict[str, Any]:
    """The body of an error, whose form is that of all errors."""
    body: dict[str, Any] = json.loads(await answer.read())
    assert (answer.status, body["code"]) == (status, code), body
    assert body.keys() == {"code", "message", "details", "request_id"}
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert any(each["@type"] == "type.googleapis.com/google.rpc.ErrorInfo" for each in body["details"])
    return body


async def test_a_ticket_is_made_read_and_listed(web: aiohttp.ClientSession) -> None:
    made = await make(web)
    async with web.get(f"{TICKETS}/{made['id']}") as answer:
        assert await answer.json() == made
    async with web.get(TICKETS, params={"page_size": "1"}) as answer:
        assert [each["key"] for each in (await answer.json())["tickets"]] == [made["key"]]
    assert made["spec"]["title"] == "Port it"


async def test_an_idempotency_key_makes_a_repetition_safe(web: aiohttp.ClientSession) -> None:
    first = await make(web, **{"Idempotency-Key": "once"})
    assert await make(web, **{"Idempotency-Key": "once"}) == first
    async with web.post(TICKETS, json={"title": "other"}, headers={"Idempotency-Key": "once"}) as answer:
        await refused(answer, 409, "ABORTED")


async def test_errors_carry_google_rpc_details(web: aiohttp.ClientSession) -> None:
    async with web.post(TICKETS, json={"title": ""}) as answer:
        body = await refused(answer, 400, "INVALID_ARGUMENT")
    bad = next(each for each in body["details"] if each["@type"].endswith("BadRequest"))
    assert bad["field_violations"][0]["field"] == "/spec/title"


async def test_a_request_id_of_the_caller_comes_back(web: aiohttp.ClientSession) -> None:
    async with web.get(TICKETS, headers={"X-Request-Id": "mine-1"}) as answer:
        assert answer.headers["X-Request-Id"] == "mine-1"
    async with web.get(TICKETS, headers={"X-Request-Id": "not {mine}"}) as answer:
        assert answer.headers["X-Request-Id"].startswith("rq_")


async def test_without_a_credential_there_is_nothing_to_see(stranger: aiohttp.ClientSession) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer nobody"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer"},
    ):
        async with stranger.get(TICKETS, headers=headers) as answer:
            await refused(answer, 401, "UNAUTHENTICATED")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_paths_and_methods_that_are_not_there(web: aiohttp.ClientSession) -> None:
    for path in ("/", "/nothing", "/api", "/api/", "/api/nothing"):
        async with web.get(URL(path, encoded=True)) as answer:
            await refused(answer, 404, "NOT_FOUND")
    async with web.delete(TICKETS) as answer:
        await refused(answer, 405, "UNIMPLEMENTED")
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    async with web.request("BREW", TICKETS) as answer:
        assert answer.status in {400, 405}
    async with web.options(TICKETS) as answer:
        assert (answer.status, answer.headers["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")


async def test_head_is_get_without_the_body(web: aiohttp.ClientSession) -> None:
    async with web.get(TICKETS) as full, web.head(TICKETS) as head:
        assert (head.status, await head.read()) == (200, b"")
        assert head.headers["ETag"] == full.headers["ETag"]
        assert head.headers["Content-Length"] == full.headers["Content-Length"]


async def test_who_takes_no_json_is_told(web: aiohttp.ClientSession) -> None:
    for accept in ("text/html", "application/json;q=0", "image/*, application/xml"):
        async with web.get(TICKETS, headers={"Accept": accept}) as answer:
            await refused(answer, 406, "INVALID_ARGUMENT")
    for accept in ("*/*", "application/*", "text/html, application/json;q=0.1"):
        async with web.get(TICKETS, headers={"Accept": accept}) as answer:
            assert answer.status == 200


async def test_bodies_of_other_types_are_refused(web: aiohttp.ClientSession) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"):
        async with web.post(TICKETS, data=b'{"title":"x"}', headers={"Content-Type": kind}) as answer:
            await refused(answer, 415, "INVALID_ARGUMENT")
    async with web.post(
        TICKETS, data=b"x", headers={"Content-Type": "application/json", "Content-Encoding": "br"}
    ) as it:
        await refused(it, 415, "INVALID_ARGUMENT")


BAD_JSON = [
    b"",
    b"null",
    b"[]",
    b"1",
    b"{",
    b'{"title": 5}',
    b'{"title": "x", "nobody": 1}',
    b'{"title": "x", "title": "y"}',
    b'{"title": "x", "priority": NaN}',
    b'{"title": "x", "priority": 1e400}',
    b'{"title": "x", "priority": 9223372036854775808}',
    b'{"title": "\\ud800"}',
    b'{"title": "\\u0000"}',
    b'{"title": "\xff\xfe"}',
    b"[" * 100_000,
    b'{"input":' + b'{"a":' * 100_000,
]


async def test_bad_json_is_refused(web: aiohttp.ClientSession) -> None:
    for body in BAD_JSON:
        async with web.post(TICKETS, data=body, headers={"Content-Type": "application/json"}) as answer:
            await refused(answer, 400, "INVALID_ARGUMENT")


async def test_what_only_looks_bad_is_kept_as_it_is(web: aiohttp.ClientSession) -> None:
    for title in ("\u202ertl", "zero\u200bwidth", "'; DROP TABLE ticket; --", "100%_\\", "../..", "<script>"):
        assert (await make(web, title))["spec"]["title"] == title


async def test_queries_are_checked(web: aiohttp.ClientSession) -> None:
    bad = (
        "page_size=-1",
        "page_size=1000000000",
        "page_size=x",
        "nobody=1",
        "page_token=forged",
        "states=NONE",
        "query=%00",
        "page_size=1&page_size=2",
    )
    for query in bad:
        async with web.get(f"{TICKETS}?{query}") as answer:
            await refused(answer, 400, "INVALID_ARGUMENT")
    async with web.get(f"{TICKETS}?{'a' * 9000}") as answer:
        await refused(answer, 414, "INVALID_ARGUMENT")
    async with web.get(f"{TICKETS}/{'a' * 5000}") as answer:
        await refused(answer, 414, "INVALID_ARGUMENT")
    for ident in ("TKT-999", "%27%20OR%201=1", "%f0%9f%98%80"):
        async with web.get(URL(f"{TICKETS}/{ident}", encoded=True)) as answer:
            await refused(answer, 404, "NOT_FOUND")


async def test_a_body_beyond_the_limit_is_refused_early(web: aiohttp.ClientSession) -> None:
    async def endless() -> Any:
        while True:
            yield b" " * 65536
            await asyncio.sleep(0)

    async with web.post(
        TICKETS, data=io.BytesIO(b" " * (10 << 20)), headers={"Content-Type": "application/json"}
    ) as answer:
        await refused(answer, 413, "RESOURCE_EXHAUSTED")
    try:
        async with web.post(TICKETS, data=endless(), headers={"Content-Type": "application/json"}) as answer:
            await refused(answer, 413, "RESOURCE_EXHAUSTED")
    except aiohttp.ClientConnectionError:
        pass  # the answer was there; the client was still sending


async def test_gzip_comes_in_and_goes_out(web: aiohttp.ClientSession) -> None:
    packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with web.post(TICKETS, data=gzip.compress(b'{"title":"small"}'), headers=packed) as answer:
        assert answer.status == 200
    await make(web, "x" * 200)
    for _ in range(5):
        await make(web, "y")
    async with web.get(TICKETS, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        unpacked = gzip.decompress(await answer.read())
        tag = answer.headers["ETag"]
    async with web.get(TICKETS, headers={"Accept-Encoding": "gzip;q=0, identity"}) as answer:
        assert "Content-Encoding" not in answer.headers
        assert await answer.read() == unpacked
        assert answer.headers["ETag"] != tag


async def test_a_bomb_does_not_unpack(web: aiohttp.ClientSession) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(64)) + packer.flush()
    packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with web.post(TICKETS, data=bomb, headers=packed) as answer:
        await refused(answer, 413, "RESOURCE_EXHAUSTED")
    for broken in (b"no gzip", gzip.compress(b"{}")[:-3], gzip.compress(b"{}") + b"more"):
        async with web.post(TICKETS, data=broken, headers=packed) as answer:
            await refused(answer, 400, "INVALID_ARGUMENT")


async def test_who_has_the_answer_already_gets_none(web: aiohttp.ClientSession) -> None:
    made = await make(web)
    path = f"{TICKETS}/{made['id']}"
    async with web.get(path) as answer:
        tag = answer.headers["ETag"]
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        async with web.get(path, headers={"If-None-Match": given}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
            assert answer.headers["ETag"] == tag
    async with web.patch(path, json={"title": "Port it all"}) as answer:
        assert answer.status == 200
    async with web.get(path, headers={"If-None-Match": tag}) as answer:
        assert (await answer.json())["spec"]["title"] == "Port it all"


async def test_what_every_answer_says(web: aiohttp.ClientSession, stranger: aiohttp.ClientSession) -> None:
    for session, method, path in (
        (web, "GET", TICKETS),
        (web, "POST", TICKETS),
        (stranger, "GET", TICKETS),
        (stranger, "GET", "/none"),
        (stranger, "GET", "/healthz"),
    ):
        async with session.request(method, path) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Cache-Control"] == ("private, no-cache" if "ETag" in answer.headers else "no-store")
            assert "X-Request-Id" in answer.headers


async def test_pages_of_other_sites_may_call_when_they_are_named(web: aiohttp.ClientSession) -> None:
    ours, foreign = {"Origin": "https://console.example.org"}, {"Origin": "https://evil.example.org"}
    async with web.get(TICKETS, headers=ours) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == ours["Origin"]
        assert "Origin" in answer.headers["Vary"]
    async with web.get(TICKETS, headers=foreign) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    async with web.options(TICKETS, headers=ours | asked) as answer:
        assert answer.status == 204
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    async with web.options(TICKETS, headers=foreign | asked) as answer:
        assert "Access-Control-Allow-Methods" not in answer.headers


async def test_deadlines_of_callers(web: aiohttp.ClientSession, control: Control) -> None:
    for header, value in (("X-Request-Timeout", "0.000001"), ("grpc-timeout", "1u")):
        async with web.get(TICKETS, headers={header: value}) as answer:
            await refused(answer, 504, "DEADLINE_EXCEEDED")
    for header, value in (("X-Request-Timeout", "soon"), ("X-Request-Timeout", "-1"), ("grpc-timeout", "5")):
        async with web.get(TICKETS, headers={header: value}) as answer:
            await refused(answer, 400, "INVALID_ARGUMENT")
    async with web.get(TICKETS, headers={"grpc-timeout": "30S"}) as answer:
        assert answer.status == 200


async def test_a_limit_says_when_to_come_again(home: Path) -> None:
    async with control_plane(home, rate_limit_admin=2) as control:
        headers = {"Authorization": f"Bearer {control.token()}"}
        async with aiohttp.ClientSession(control.url, headers=headers) as web:
            for _ in range(2):
                async with web.get(TICKETS) as answer:
                    assert answer.status == 200
            async with web.get(TICKETS) as answer:
                await refused(answer, 429, "RESOURCE_EXHAUSTED")
                assert 1 <= int(answer.headers["Retry-After"]) <= 60


async def test_a_hundred_clients_at_once(control: Control) -> None:
    headers = {"Authorization": f"Bearer {control.token()}"}

    async def call(number: int) -> int:
        async with aiohttp.ClientSession(control.url, headers=headers) as web:
            made = await make(web, f"ticket {number}")
            async with web.get(f"{TICKETS}/{made['id']}") as answer:
                return answer.status

    assert set(await asyncio.gather(*(call(number) for number in range(100)))) == {200}
