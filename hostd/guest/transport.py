"""HTTP/1.1 to the broker, one connection per request, so that none is open while nothing is asked."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0
_REDIRECT = 300
_TOO_MANY = 429
_SERVER = 500


class Refused(Exception):
    """The broker says no; asking again is of no use."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status} {body[:300].decode(errors='replace')}")
        self.status = status


class Transport:
    """All calls block; times are seconds."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._host = f"{address[0]}:{address[1]}"

    def once(
        self, method: str, path: str, body: bytes = b"", *, kind: str = "application/json", timeout_s: float = 60
    ) -> tuple[int, bytes]:
        """Status and body of one request. `OSError`, `HTTPException`."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", "Connection: close"]
        if body or method in ("POST", "PUT"):
            lines += [f"Content-Length: {len(body)}", f"Content-Type: {kind}"]
        with socket.create_connection(self._address, timeout=timeout_s) as sock:
            sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            answer = http.client.HTTPResponse(sock, method=method)
            answer.begin()
            return answer.status, answer.read()

    def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        kind: str = "application/json",
        timeout_s: float = 60,
        patience_s: float = 120,
    ) -> bytes:
        """Body of an answer; tries again while the broker is away or busy. `Refused`, `OSError`."""
        wait, deadline = _FIRST_WAIT_S, time.monotonic() + patience_s
        while True:
            try:
                status, answer = self.once(method, path, body, kind=kind, timeout_s=timeout_s)
                if status < _REDIRECT:
                    return answer
                if status != _TOO_MANY and status < _SERVER:
                    raise Refused(status, answer)
            except (OSError, http.client.HTTPException):
                if time.monotonic() > deadline:
                    raise
            else:
                if time.monotonic() > deadline:
                    raise Refused(status, answer)
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)

    def post(self, path: str, value: dict[str, Any], *, patience_s: float = 120) -> None:
        """Send an object as JSON. `Refused`, `OSError`."""
        self.call("POST", path, json.dumps(value).encode(), patience_s=patience_s)
