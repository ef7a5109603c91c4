"""A broker in miniature for one VM: answers the guest protocol and remembers what the guest said."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import secrets
import socket
import tarfile
import time
from typing import Any, Self

from hostd.ports import Vm
from hostd.templates.doorbell import Doorbell

DOORBELL_S = 1.0


def bundle(script: str) -> bytes:
    """An agent whose executable is `script`."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content, mode in (("agent.json", "{}", 0o644), ("run", script, 0o755)):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content.encode()), mode
            tar.addfile(member, io.BytesIO(content.encode()))
    return data.getvalue()


class WorkServer:
    """Gives one VM an agent to run. `events` are its GuestEvents, `first_byte_ns` is monotonic."""

    def __init__(self, vm: Vm, script: str, name: str = "clone") -> None:
        self.events: list[dict[str, Any]] = []
        self.first_byte_ns = 0
        self.outcome: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._vm = vm
        self._bundle = bundle(script)
        self._name = name
        self._server: asyncio.Server | None = None
        self._bell: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        listener = socket.socket(fileno=os.dup(self._vm.listener))
        self._server = await asyncio.start_server(self._serve, sock=listener)
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._bell is not None:
            self._bell.cancel()
        assert self._server is not None
        self._server.close()

    def ring(self) -> None:
        """Wake the guest, again each second until it calls."""
        self._bell = asyncio.create_task(self._ring())

    async def _ring(self) -> None:
        with Doorbell(self._vm.unit.slot.net) as bell:  # type: ignore[attr-defined]
            while not self.first_byte_ns:
                bell.ring()
                await asyncio.sleep(DOORBELL_S)

    def log_lines(self) -> list[str]:
        return [event.get("text", "") for event in self.events if event.get("type") == "log"]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.first_byte_ns = self.first_byte_ns or time.monotonic_ns()
                await self._request(line.decode().split(), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the guest, or the test, is over
        finally:
            writer.close()

    async def _request(self, words: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = 0
        while (header := (await reader.readline()).strip()) != b"":
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        body = await reader.readexactly(length)
        kind, answer = self._answer(words[1], body)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(answer)}\r\n\r\n"
        writer.write(head.encode() + answer)
        await writer.drain()

    def _answer(self, path: str, body: bytes) -> tuple[str, bytes]:
        if path.startswith("/v1/agent?"):
            return "application/x-tar", self._bundle
        value: dict[str, Any] = {}
        if path == "/v1/work":
            value = self._work()
        elif path == "/v1/events":
            batch = json.loads(body)["events"]
            self.events += batch
            value = {"ack": str(batch[-1]["seq"])}
        elif path == "/v1/result" and not self.outcome.done():
            self.outcome.set_result(json.loads(body))
        return "application/json", json.dumps(value).encode()

    def _work(self) -> dict[str, Any]:
        return {
            "entropy": base64.b64encode(secrets.token_bytes(64)).decode(),
            "time_ns": str(time.time_ns()),
            "machine_id": secrets.token_hex(16),
            "hostname": self._name,
            "ticket_key": "T-1",
            "title": "clone",
            "fence": "1",
            "agent": {"name": "probe", "version": "1", "digest": "", "command": ["./run"]},
            "input": {},
            "timeout_s": 120,
        }
