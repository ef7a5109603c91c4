"""QMP client. What the VMM says is trusted no more than its guest: sizes are capped and the grammar is strict."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from hostd.errors import VmLostError

LONGEST_LINE = 64 * 1024
MOST_SKIPPED = 256
"""Events and stale answers tolerated before the answer to one command."""
TIMEOUT_S = 10.0


class QmpError(VmLostError):
    """The VMM hung up, hung, refused a command, or broke the protocol."""


class LineParser:
    """Cuts a byte stream into messages: JSON objects, one per line."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def empty(self) -> bool:
        return not self._buffer

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> dict[str, Any] | None:
        """The next message, None when it is not complete yet. `QmpError` for anything but a short JSON object."""
        end = self._buffer.find(b"\n")
        if end > LONGEST_LINE or (end < 0 and len(self._buffer) > LONGEST_LINE):
            raise QmpError(f"the VMM sent a line of more than {LONGEST_LINE} bytes")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return parse_message(line)


def parse_message(line: bytes) -> dict[str, Any]:
    """One message. `QmpError` unless it is a JSON object of one of the four known kinds."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise QmpError("the VMM sent a line that is not JSON") from error
    if not isinstance(message, dict) or len(message.keys() & {"QMP", "return", "error", "event"}) != 1:
        raise QmpError("the VMM sent something that is no QMP message")
    return message


class Qmp:
    """One control connection. Commands are serialized; between them nobody reads the socket."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(0)
        self._socket = connection
        self._lines = LineParser()
        self._lock = asyncio.Lock()
        self._last_id = 0
        self._begun = False

    @property
    def fd(self) -> int:
        return self._socket.fileno()

    async def open(self, timeout: float = TIMEOUT_S) -> None:
        """Wait for the greeting and negotiate."""
        async with self._lock:
            try:
                greeting = await asyncio.wait_for(self._receive(), timeout)
            except TimeoutError as error:
                raise QmpError(f"the VMM said nothing for {timeout:g} s") from error
        if "QMP" not in greeting:
            raise QmpError("the VMM's first message is no greeting")
        await self.execute("qmp_capabilities", timeout=timeout)

    async def execute(
        self, command: str, arguments: dict[str, Any] | None = None, *, fd: int = -1, timeout: float = TIMEOUT_S
    ) -> Any:
        """Run a command, with descriptor `fd` attached if not -1, and return its value. `QmpError`."""
        async with self._lock:
            await self._send(self._message(command, arguments) + b"}\n", fd)
            return await self._answer(command, timeout)

    async def begin(self, command: str, arguments: dict[str, Any] | None = None) -> None:
        """Send a command but for its last character.

        QEMU reads its monitor one byte per turn of its loop, which costs more than most commands do. What is known
        ahead is said ahead; `rest` says the last byte. Nothing else can be sent in between.
        """
        async with self._lock:
            message = self._message(command, arguments)
            self._begun = True
            await self._send(message, -1)

    def rest(self) -> bytes:
        """What sets off the command that was begun; the caller sends it."""
        self._begun = False
        return b"}\n"

    @property
    def begun(self) -> bool:
        """Whether a command waits for its last character."""
        return self._begun

    async def finish(self, timeout: float = TIMEOUT_S) -> None:
        """Set off the command that was begun, and wait for its answer."""
        async with self._lock:
            await self._send(self.rest(), -1)
            await self._answer("the command", timeout)

    async def finish_until(self, event: str, wanted: str, timeout: float = TIMEOUT_S) -> None:
        """Set off the command that was begun, and wait until `event` reports status `wanted` after its answer."""
        await self.finish(timeout)
        async with self._lock:
            try:
                await asyncio.wait_for(self._reported(event, wanted), timeout)
            except TimeoutError as error:
                raise QmpError(f"the VMM did not report {event} within {timeout:g} s") from error

    def _message(self, command: str, arguments: dict[str, Any] | None) -> bytes:
        """A command with a new id, without its closing brace."""
        if self._begun:
            raise QmpError(f"{command}: another command is half said")
        self._last_id += 1
        message: dict[str, Any] = {"execute": command, "id": self._last_id}
        if arguments:
            message["arguments"] = arguments
        return json.dumps(message).encode()[:-1]

    async def _answer(self, command: str, timeout: float) -> Any:
        try:
            message = await asyncio.wait_for(self._matching(), timeout)
        except TimeoutError as error:
            raise QmpError(f"{command}: the VMM did not answer within {timeout:g} s") from error
        if "return" not in message:
            raise QmpError(f"the VMM refused a command: {_description(message)}")
        return message["return"]

    async def _matching(self) -> dict[str, Any]:
        """The answer to the last command; events and late answers to earlier ones are skipped."""
        for _ in range(MOST_SKIPPED):
            message = await self._receive()
            if message.get("id") == self._last_id and "event" not in message:
                return message
        raise QmpError("the VMM sent too much beside its answer")

    async def _reported(self, event: str, wanted: str) -> None:
        for _ in range(MOST_SKIPPED):
            message = await self._receive()
            data = message.get("data")
            status = data.get("status") if message.get("event") == event and isinstance(data, dict) else None
            if status == wanted:
                return
            if status in {"failed", "cancelled"}:
                raise QmpError(f"{event}: {status}")
        raise QmpError(f"the VMM sent too much beside {event}")

    async def _send(self, line: bytes, fd: int) -> None:
        try:
            if fd < 0:
                await asyncio.get_running_loop().sock_sendall(self._socket, line)
            elif socket.send_fds(self._socket, [line], [fd]) != len(line):
                raise QmpError("the VMM reads nothing")
        except (OSError, BlockingIOError) as error:
            raise QmpError("the VMM closed its control socket") from error

    async def _receive(self) -> dict[str, Any]:
        while (message := self._lines.next()) is None:
            try:
                data = await asyncio.get_running_loop().sock_recv(self._socket, 16 * 1024)
            except OSError as error:
                raise QmpError("the VMM closed its control socket") from error
            if not data:
                raise QmpError("the VMM closed its control socket")
            self._lines.feed(data)
        return message

    def close(self) -> None:
        self._socket.close()


def _description(message: dict[str, Any]) -> str:
    error = message.get("error")
    text = error.get("desc") if isinstance(error, dict) else None
    return text[:200] if isinstance(text, str) else "no reason given"
