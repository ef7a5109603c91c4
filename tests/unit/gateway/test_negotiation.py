"""What a request's headers ask for."""

from __future__ import annotations

import json
import math

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from controlplane.errors import InvalidInput
from controlplane.gateway.answers import takes
from controlplane.gateway.deadline import LONGEST_S, wanted
from controlplane.gateway.front import Front
from controlplane.gateway.headers import Origins, metadata_of
from telemetry.logs import Render


@pytest.mark.parametrize(
    ("header", "given", "what", "taken"),
    [
        ("Accept", None, "application/json", True),
        ("Accept", "*/*", "application/json", True),
        ("Accept", "application/*;q=0.5", "application/json", True),
        ("Accept", "application/json;q=0, */*", "application/json", False),
        ("Accept", "text/html", "application/json", False),
        ("Accept", "application/json; charset=utf-8; q=x", "application/json", False),
        ("Accept-Encoding", None, "gzip", False),
        ("Accept-Encoding", "br, gzip", "gzip", True),
        ("Accept-Encoding", "GZIP;q=0.001", "gzip", True),
        ("Accept-Encoding", "*", "gzip", True),
        ("Accept-Encoding", "gzip;q=0, *", "gzip", False),
        ("Accept-Encoding", "identity", "gzip", False),
    ],
)
def test_what_is_taken(header: str, given: str | None, what: str, taken: bool) -> None:  # noqa: FBT001
    request = make_mocked_request("GET", "/", headers={header: given} if given else {})
    assert takes(request, header, what) is taken


@pytest.mark.parametrize(
    ("header", "given", "seconds"),
    [
        ("X-Request-Timeout", "2.5", 2.5),
        ("X-Request-Timeout", "3s", 3),
        ("X-Request-Timeout", "99999", LONGEST_S),
        ("grpc-timeout", "5S", 5),
        ("grpc-timeout", "100m", 0.1),
        ("grpc-timeout", "2M", 120),
        ("grpc-timeout", "99999999H", LONGEST_S),
        ("X-Other", "1", math.inf),
    ],
)
def test_deadlines(header: str, given: str, seconds: float) -> None:
    assert wanted(make_mocked_request("GET", "/", headers={header: given})) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("header", "given"),
    [("X-Request-Timeout", "-1"), ("X-Request-Timeout", "1e3"), ("grpc-timeout", "5"), ("grpc-timeout", "S")],
)
def test_deadlines_that_are_none(header: str, given: str) -> None:
    with pytest.raises(InvalidInput):
        wanted(make_mocked_request("GET", "/", headers={header: given}))


def test_a_call_knows_of_its_request_what_a_gRPC_client_would_say() -> None:  # noqa: N802
    headers = {"Authorization": "Bearer x", "Cookie": "session=1", "Traceparent": "00-1-2-01", "X-Other": "1"}
    found = metadata_of(make_mocked_request("GET", "/", headers=headers), "rq_1")
    assert found == {"x-request-id": "rq_1", "authorization": "Bearer x", "traceparent": "00-1-2-01"}


def test_lines_that_several_proxies_have_added_are_one() -> None:
    headers = CIMultiDict([("X-Forwarded-For", "1.1.1.1"), ("x-forwarded-for", "10.0.0.1"), ("X-Correlation-Id", "c")])
    found = metadata_of(make_mocked_request("GET", "/", headers=headers), "rq_1")
    assert found == {"x-request-id": "rq_1", "x-forwarded-for": "1.1.1.1, 10.0.0.1", "x-correlation-id": "c"}


async def test_what_is_logged_of_a_request_names_it() -> None:
    lines = []

    async def handle(_: web.BaseRequest) -> web.Response:
        lines.append(Render({})(None, "", {"event": "something"}))
        return web.Response()

    request = make_mocked_request("GET", "/x", headers={"Host": "h", "X-Request-Id": "mine"})
    answer = await Front({"x": handle}, Origins()).handle(request)
    assert (json.loads(lines[0])["request_id"], answer.headers["X-Request-Id"]) == ("mine", "mine")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("https://console.example.org", True),
        ("http://swarm.example.org", True),
        ("https://swarm.example.org", True),
        ("https://console.example.org.evil.example", False),
        ("http://console.example.org", False),
        ("null", False),
        ("", False),
    ],
)
def test_origins(origin: str | None, allowed: bool) -> None:  # noqa: FBT001
    headers = {"Host": "swarm.example.org"} | ({} if origin is None else {"Origin": origin})
    request = make_mocked_request("GET", "/", headers=headers)
    assert Origins(("https://console.example.org",)).allows(request) is allowed
