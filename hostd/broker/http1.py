"""HTTP/1.1 request heads and chunk sizes, parsed strictly: what two parsers could read differently is refused.

Pure. Stricter than RFC 9112 where it leaves a choice: no bare LF, no line folding, no absolute form, no trailers, no
chunk extensions, no percent-encoding in paths, and no transfer coding but chunked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hostd.broker.refusal import Refusal

HEAD_LIMIT = 16 << 10
TARGET_LIMIT = 2048
FIELDS_LIMIT = 64
_REQUEST = re.compile(rb"([A-Z]{1,16}) ([\x21-\x7e]+) HTTP/1\.1")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_PATH = re.compile(r"(/[A-Za-z0-9._~@+-]*)+")
_PAIR = re.compile(r"([a-z_]{1,32})=([A-Za-z0-9._-]{0,64})")
_LENGTH = re.compile(r"[0-9]{1,15}")
_CHUNK = re.compile(rb"[0-9A-Fa-f]{1,8}")
_ONCE = ("host", "content-length", "transfer-encoding", "content-type", "content-encoding", "expect", "git-protocol")
_CREDENTIALS = ("authorization", "proxy-authorization", "cookie")


@dataclass(frozen=True, slots=True)
class Head:
    """`length` is that of the body in bytes; None: chunked. Header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    length: int | None

    @property
    def has_body(self) -> bool:
        return self.length is None or self.length > 0

    @property
    def keeps_alive(self) -> bool:
        return self.headers.get("connection", "").lower() != "close"


def check_line(line: bytes) -> bytes:
    """A line of a head without its CR LF."""
    if not line.endswith(b"\r\n"):
        raise Refusal(400, "a line ends with CR LF")
    if b"\r" in line[:-2] or b"\0" in line:
        raise Refusal(400, "a line holds no CR and no NUL")
    return line[:-2]


def parse_head(lines: Sequence[bytes], host: str) -> Head:
    """A head from its lines without line ends; `host` is the one value of Host that is right here."""
    match = _REQUEST.fullmatch(lines[0])
    if not match:
        raise Refusal(400, "the request line is METHOD TARGET HTTP/1.1")
    method, target = match[1].decode(), match[2].decode()
    headers = _fields(lines[1:])
    path, query = _target(method, target)
    length = _framing(headers)
    if "host" not in headers:
        raise Refusal(400, "Host is missing")
    if headers["host"] != host:
        raise Refusal(403, "this is not that host", rule="host", target=headers["host"][:100], close=True)
    for name in _CREDENTIALS:
        if name in headers:
            raise Refusal(403, "no credential is used here", rule="credential", target=f"{name} {path}", close=True)
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise Refusal(400, "Expect is 100-continue or absent")
    if method in ("GET", "HEAD") and length != 0:
        raise Refusal(400, f"{method} has no body")
    return Head(method, path, query, headers, length)


def _fields(lines: Sequence[bytes]) -> dict[str, str]:
    if len(lines) > FIELDS_LIMIT:
        raise Refusal(431, f"more than {FIELDS_LIMIT} header lines")
    headers: dict[str, str] = {}
    for line in lines:
        before, colon, after = line.partition(b":")
        if not colon or not _NAME.fullmatch(before) or not _VALUE.fullmatch(after):
            raise Refusal(400, "a header line is NAME: VALUE, not folded")
        name, value = before.decode().lower(), after.strip(b" \t").decode("latin-1")
        if name in headers and name in _ONCE:
            raise Refusal(400, f"{name} is given twice")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _target(method: str, target: str) -> tuple[str, dict[str, str]]:
    if method == "CONNECT" or not target.startswith("/"):
        raise Refusal(400, "this is no proxy: the target is a path", rule="proxy", target=target[:200])
    if len(target) > TARGET_LIMIT:
        raise Refusal(414, f"the target is longer than {TARGET_LIMIT} bytes")
    path, mark, query = target.partition("?")
    if not _PATH.fullmatch(path) or "//" in path or {".", ".."} & set(path.split("/")):
        raise Refusal(400, "the path is not plain", rule="path", target=target[:200])
    pairs = [_PAIR.fullmatch(part) for part in query.split("&")] if mark else []
    if not all(pairs):
        raise Refusal(400, "the query is name=value, plain", rule="path", target=target[:200])
    return path, {pair[1]: pair[2] for pair in pairs if pair}


def _framing(headers: Mapping[str, str]) -> int | None:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None and length is not None:
        raise Refusal(400, "either Content-Length or Transfer-Encoding")
    if coding is not None:
        if coding.lower() != "chunked":
            raise Refusal(400, "the only transfer coding is chunked")
        return None
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise Refusal(400, "Content-Length is a decimal number")
    return int(length)


def parse_chunk_size(line: bytes) -> int:
    """Size line of a chunk, with its CR LF."""
    text = check_line(line)
    if not _CHUNK.fullmatch(text):
        raise Refusal(400, "a chunk begins with its size in hex and nothing else")
    return int(text, 16)
