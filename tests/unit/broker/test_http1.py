from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostd.broker.http1 import Head, check_line, parse_chunk_size, parse_head
from hostd.broker.refusal import Refusal

HOST = "172.16.0.1:8000"


def parse(text: str, host: str = HOST) -> Head:
    return parse_head([line.encode("latin-1") for line in text.split("\n")], host)


def test_a_plain_request() -> None:
    head = parse(f"POST /v1/events?number=1 HTTP/1.1\nHost: {HOST}\nContent-Length: 12\nX:  a b \nx: c")
    assert (head.method, head.path, head.query, head.length) == ("POST", "/v1/events", {"number": "1"}, 12)
    assert head.headers["x"] == "a b, c"
    assert head.has_body
    assert head.keeps_alive


def test_a_chunked_request_that_closes() -> None:
    head = parse(f"PUT /a HTTP/1.1\nHost: {HOST}\nTransfer-Encoding: Chunked\nConnection: Close")
    assert head.length is None
    assert head.has_body
    assert not head.keeps_alive


@pytest.mark.parametrize("rule", ["host", "credential", "proxy"])
def test_denied_calls_are_named(rule: str) -> None:
    text = {
        "host": "GET / HTTP/1.1\nHost: evil.example",
        "credential": f"GET / HTTP/1.1\nHost: {HOST}\nAuthorization: x",
        "proxy": f"CONNECT evil.example:443 HTTP/1.1\nHost: {HOST}",
    }[rule]
    with pytest.raises(Refusal) as refusal:
        parse(text)
    assert refusal.value.rule == rule
    assert refusal.value.target
    assert refusal.value.close


@pytest.mark.parametrize("line", [b"a\n", b"a", b"a\r\r\n", b"\0\r\n", b"\r\r\n"])
def test_line_ends(line: bytes) -> None:
    with pytest.raises(Refusal):
        check_line(line)


@pytest.mark.parametrize(("line", "size"), [(b"0\r\n", 0), (b"fF\r\n", 255), (b"00000010\r\n", 16)])
def test_chunk_sizes(line: bytes, size: int) -> None:
    assert parse_chunk_size(line) == size


@pytest.mark.parametrize("line", [b"\r\n", b"0x1\r\n", b"1_0\r\n", b"+1\r\n", b"1 \r\n", b"1;a\r\n", b"123456789\r\n"])
def test_chunk_sizes_that_are_none(line: bytes) -> None:
    with pytest.raises(Refusal):
        parse_chunk_size(line)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=6))
def test_any_bytes_are_a_head_or_a_refusal(lines: list[bytes]) -> None:
    with contextlib.suppress(Refusal):
        assert parse_head(lines, HOST).headers["host"] == HOST


TOKENS = st.sampled_from(
    ["GET", "POST", " ", "/", "/v1/work", "?", "a=b", "&", "HTTP/1.1", "HTTP/1.0", "%2e", "..", "\t", "#"]
)


@given(
    st.lists(TOKENS, max_size=10),
    st.lists(
        st.sampled_from(
            ["Host: " + HOST, "Content-Length: 3", "Transfer-Encoding: chunked", " x", "A:b", "Content-Length: 0"]
        ),
        max_size=5,
    ),
)
def test_an_accepted_head_is_unambiguous(start: list[str], fields: list[str]) -> None:
    try:
        head = parse("\n".join(["".join(start), *fields]))
    except Refusal:
        return
    framing = [line for line in fields if line.startswith(("Content-Length", "Transfer"))]
    assert len(framing) <= 1
    assert fields.count("Host: " + HOST) == 1
    assert " x" not in fields
    assert head.path.startswith("/")
    assert ".." not in head.path.split("/")
    assert "%" not in head.path
