"""hostd's side of the broker: starts it and restarts it, hands it capabilities, passes on what it tells."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hostd.broker.wire import Channel, Kind, Message
from hostd.errors import BrokerError
from hostd.git.refname import is_object
from hostd.ports import MOST_BUNDLES, BrokerEvents, Capability

_log = logging.getLogger(__name__)
SILENCE_S = 20.0
_START_S = 30.0
_SLOTS = 1 << 16
_BACKOFF_S = (0.05, 0.2, 1.0, 2.0)
_STEADY_S = 60.0
_STOP_TIMEOUT_S = 5.0
_HEAD = 40
_FINDINGS = 200
_LINE = 400
_LONGEST = 640 << 10
_EVENTS = 1000


@dataclass(slots=True)
class _Held:
    """One live capability, complete enough to hand it to a new broker process."""

    slot: int
    capability: Capability
    fds: list[int]
    payload: bytes
    answers: dict[int, str] = field(default_factory=dict)  # by the number of the question
    rung: bool = False
    seen: bool = False
    suspended: bool = False

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


class BrokerClient:
    """Implements `hostd.ports.Broker` for a broker process that runs as `uid` and `gid`."""

    def __init__(self, uid: int, gid: int) -> None:
        self._uid = uid
        self._gid = gid
        self._events: BrokerEvents | None = None
        self._process: Process | None = None
        self._channel: Channel | None = None
        self._held: dict[str, _Held] = {}
        self._slots: dict[int, _Held] = {}
        self._next = 0
        self._supervising: asyncio.Task[None] | None = None
        self._started: asyncio.Future[None] | None = None
        self._heard = 0.0

    @property
    def pid(self) -> int:
        """Process id of the broker; 0 while there is none."""
        return self._process.pid if self._process and self._process.returncode is None else 0

    async def start(self, listener: BrokerEvents) -> None:
        """`BrokerError` when the process cannot be started."""
        self._events = listener
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._supervising = asyncio.create_task(self._supervise(started))
        try:
            await started
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Idempotent; capabilities are forgotten."""
        if self._supervising is not None:
            self._supervising.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervising
            self._supervising = None
        for attempt_id in list(self._held):
            await self.detach(attempt_id)

    async def attach(self, capability: Capability, listener: int, doorbell: int) -> None:
        """See `hostd.ports.Broker`. `BrokerError` when the bundle cannot be read."""
        await self.detach(capability.attempt_id)
        fds = [os.dup(listener)]
        try:
            if doorbell >= 0:
                fds.append(os.dup(doorbell))
            for bundle in _bundles(capability).values():
                fds.append(os.open(bundle, os.O_RDONLY | os.O_CLOEXEC))  # noqa: PERF401  # closed if a later one fails
            self._make_artifacts(capability)
            payload = json.dumps(_fields(capability, doorbell=doorbell >= 0)).encode()
        except (OSError, TypeError, ValueError) as error:
            for fd in fds:
                os.close(fd)
            raise BrokerError(f"cannot hand {capability.attempt_id} to the broker: {error}") from error
        held = _Held(self._free_slot(), capability, fds, payload)
        self._held[capability.attempt_id] = self._slots[held.slot] = held
        self._hand_over(held)

    async def ring(self, attempt_id: str) -> None:
        """See `hostd.ports.Broker`."""
        held = self._get(attempt_id)
        held.rung = True
        self._send(held, Kind.RING)

    async def ask(self, attempt_id: str) -> None:
        """See `hostd.ports.Broker`."""
        if attempt_id in self._held:
            self._send(self._held[attempt_id], Kind.ASK)

    async def answer(self, attempt_id: str, number: int, text: str) -> None:
        """The first answer to a question counts."""
        held = self._get(attempt_id)
        if number not in held.answers:
            held.answers[number] = text
            self._send(held, Kind.ANSWER, text.encode(errors="replace"), value=number)

    async def pushed(self, attempt_id: str, head: str, error: str | None) -> None:
        """The guest learns whether it worked, not what the upstream said, which may be more than it should know."""
        if error is not None:
            _log.warning("push of %s for %s failed: %s", head, attempt_id, error)
        if attempt_id in self._held:
            self._send(self._held[attempt_id], Kind.PUSHED, head.encode(), value=int(error is None))

    async def suspend(self, attempt_id: str) -> None:
        """See `hostd.ports.Broker`."""
        if attempt_id in self._held:
            self._held[attempt_id].suspended = True
            self._send(self._held[attempt_id], Kind.SUSPEND)

    async def restore(self, attempt_id: str) -> None:
        """See `hostd.ports.Broker`."""
        held = self._get(attempt_id)
        held.suspended = False
        self._send(held, Kind.RESTORE)

    async def detach(self, attempt_id: str) -> None:
        """See `hostd.ports.Broker`."""
        held = self._held.pop(attempt_id, None)
        if held is not None:
            del self._slots[held.slot]
            self._send(held, Kind.DETACH)
            held.close()

    def _get(self, attempt_id: str) -> _Held:
        try:
            return self._held[attempt_id]
        except KeyError:
            raise BrokerError(f"{attempt_id} is not attached") from None

    def _free_slot(self) -> int:
        """Slots go round, so that a late message of an old attempt never meets a new one."""
        if len(self._slots) >= _SLOTS:
            raise BrokerError("too many attempts at once")
        while self._next in self._slots:
            self._next = (self._next + 1) % _SLOTS
        slot, self._next = self._next, (self._next + 1) % _SLOTS
        return slot

    def _make_artifacts(self, capability: Capability) -> None:
        if capability.artifacts is not None:
            capability.artifacts.mkdir(mode=0o750, parents=True, exist_ok=True)
            if os.geteuid() == 0:
                os.chown(capability.artifacts, self._uid, self._gid)

    def _send(
        self, held: _Held, kind: Kind, payload: bytes = b"", *, value: int = 0, fds: list[int] | None = None
    ) -> None:
        if self._channel is not None:
            self._channel.send(Message(kind, held.slot, value, payload), fds or ())

    def _hand_over(self, held: _Held) -> None:
        self._send(held, Kind.ATTACH, held.payload, fds=held.fds)
        for number, text in held.answers.items():
            self._send(held, Kind.ANSWER, text.encode(errors="replace"), value=number)
        if held.suspended:
            self._send(held, Kind.SUSPEND)
        elif held.rung and not held.seen:
            self._send(held, Kind.RING)

    async def _supervise(self, started: asyncio.Future[None]) -> None:
        failures = 0
        while True:
            begun = time.monotonic()
            try:
                await self._run_once(started)
            except OSError as error:
                if not started.done():
                    started.set_exception(BrokerError(f"cannot start the broker: {error}"))
                    return
                _log.error("cannot start the broker: %s", error)
            failures = 0 if time.monotonic() - begun > _STEADY_S else failures + 1
            await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])

    async def _run_once(self, started: asyncio.Future[None]) -> None:
        """One life of the broker process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ended = asyncio.Event()
        with theirs:
            self._process = await self._spawn(theirs.fileno())
        self._started = started
        self._channel = Channel(ours, self._receive, ended.set)
        try:
            for held in self._held.values():
                self._hand_over(held)
            await self._watch(ended)
            if not started.done():
                started.set_exception(BrokerError("the broker ended before it was ready; its messages say why"))
            _log.error("the broker is gone; starting it again")
        finally:
            self._channel.close()
            self._channel = None
            await asyncio.shield(self._end(self._process))

    async def _watch(self, ended: asyncio.Event) -> None:
        """Returns when the process is gone, or has been silent for so long that it has to go."""
        self._heard = time.monotonic() + _START_S
        while not ended.is_set():
            if time.monotonic() - self._heard > SILENCE_S:
                _log.error("the broker does not answer")
                return
            if self._channel is not None:
                self._channel.send(Message(Kind.PING, 0))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SILENCE_S / 4):
                    await ended.wait()

    async def _spawn(self, fd: int) -> Process:
        argv = [sys.executable, "-m", "hostd.broker", "--fd", str(fd), "--uid", str(self._uid), "--gid", str(self._gid)]
        env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return await asyncio.create_subprocess_exec(
            *argv, cwd="/", env=env, stdin=DEVNULL, stdout=DEVNULL, pass_fds=(fd,)
        )

    @staticmethod
    async def _end(process: Process) -> None:
        """It ends by itself when its socket is closed, unless it is stuck."""
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()

    def _receive(self, message: Message, fds: list[int]) -> None:
        for fd in fds:  # nothing in the protocol sends any this way
            os.close(fd)
        self._heard = time.monotonic()
        if message.kind == Kind.READY:
            if self._started is not None and not self._started.done():
                self._started.set_result(None)
            return
        held, handler = self._slots.get(message.slot), _HANDLERS.get(message.kind)
        if held is None or self._events is None:
            return
        if len(message.payload) > _LONGEST:  # it would break the link to the control plane, again and again
            _log.error("the broker sent %d bytes about %s", len(message.payload), held.capability.attempt_id)
            return
        if handler is None:
            _log.error("the broker sent a message of kind %d", message.kind)
            return
        if message.kind == Kind.FIRST_BYTE:
            held.seen = True
        handler(self._events, held.capability.attempt_id, message)


def _fields(capability: Capability, *, doorbell: bool) -> dict[str, object]:
    return {
        "attempt_id": capability.attempt_id,
        "work": dict(capability.work),
        "staging": str(capability.staging or ""),
        "push_ref": capability.push_ref,
        "artifacts": str(capability.artifacts or ""),
        "limits": asdict(capability.limits),
        "doorbell": doorbell,
        "bundles": list(capability.bundles),
    }


def _bundles(capability: Capability) -> Mapping[str, Path]:
    """In the order of their descriptors; `ValueError` for more than one message can carry."""
    if len(capability.bundles) > MOST_BUNDLES:
        raise ValueError(f"more than {MOST_BUNDLES} bundles")
    return capability.bundles


def _text(payload: bytes) -> str:
    return payload.decode(errors="replace")[:_LINE]


def _push(events: BrokerEvents, attempt_id: str, message: Message) -> None:
    head = _text(message.payload)
    if is_object(head):
        events.push(attempt_id, head)


def _outcome(events: BrokerEvents, attempt_id: str, message: Message) -> None:
    head = _text(message.payload[:_HEAD]).strip()
    if not head or is_object(head):
        events.outcome(attempt_id, message.payload[_HEAD:], succeeded=message.value == 1, head=head)


_HANDLERS: dict[int, Callable[[BrokerEvents, str, Message], None]] = {
    Kind.FIRST_BYTE: lambda events, attempt, message: events.first_byte(attempt, message.value),
    Kind.ALIVE: lambda events, attempt, message: events.alive(attempt, message.value),
    Kind.AGENT_STARTED: lambda events, attempt, message: events.agent_started(attempt, message.value),
    Kind.EVENTS: lambda events, attempt, message: events.events(
        attempt, message.payload, logs=min(message.value, _EVENTS)
    ),
    Kind.PROGRESS: lambda events, attempt, message: events.progressed(attempt, asking=message.value == 1),
    Kind.BLOCKED: lambda events, attempt, message: events.blocked(attempt, _text(message.payload)),
    Kind.VIOLATION: lambda events, attempt, message: events.violation(attempt, _text(message.payload)),
    Kind.FINDINGS: lambda events, attempt, message: events.findings(
        attempt, [_text(line) for line in message.payload.split(b"\n") if line][:_FINDINGS]
    ),
    Kind.PUSH: _push,
    Kind.OUTCOME: _outcome,
}
