"""/ws: rooms over one WebSocket.

The client says `{"type": "auth", "token"}`, `subscribe {"rooms", "cursor"}`, `unsubscribe {"rooms"}` and `ping`; the
server `{"type": "ready"}`, `subscribed`, `unsubscribed`, `pong`, `error`, and events under their own names. A cursor is
the number of the last event that was seen: one for all rooms that are named, or an object of them by room; without it a
room begins with what comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from controlplane import metrics
from controlplane.api.pipeline import Authenticate
from controlplane.domain.call import Call, Principal
from controlplane.errors import Forbidden, InvalidInput, SwarmError, Unauthenticated, Violation
from controlplane.gateway import frames, upgrade
from controlplane.gateway.admission import Admission, Pass
from controlplane.gateway.answers import described
from controlplane.gateway.commands import MOST_ROOMS, cursor_in, names_in, parsed, start
from controlplane.gateway.front import known_id
from controlplane.gateway.headers import Origins
from controlplane.gateway.hub import Hub
from controlplane.gateway.rooms import Directory, Source
from controlplane.gateway.wire import BUDGET_BYTES, Wire
from controlplane.ports import Reader, Store

FIRST_S: Final = 5.0
RECHECK_S: Final = 1.0


@dataclass(slots=True, eq=False)
class Client:
    """One socket. `rooms` by the name under which it was asked for; `joining` are those that still catch up."""

    wire: Wire
    admitted: Pass
    request_id: str
    rooms: dict[str, Source] = field(default_factory=dict)
    joining: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def say(self, kind: str, **more: Any) -> None:
        self.wire.push(frames.text({"type": kind, **more}))

    def fail(self, error: SwarmError, **more: Any) -> None:
        self.say("error", **described(error, self.request_id), **more)


class Sockets:
    """`handle` answers /ws. `enter` counts a principal once against its limits, or refuses."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        directory: Directory,
        admission: Admission,
        *,
        enter: Callable[[Principal], Awaitable[None]],
        origins: Origins,
        budget: int = BUDGET_BYTES,
    ) -> None:
        self._store = store
        self._hub = hub
        self._directory = directory
        self._admission = admission
        self._enter = enter
        self._origins = origins
        self._budget = budget
        self._open: set[Client] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        await self._hub.start()
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Says good-bye to all."""
        self._stopping = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        leaving = tuple(self._open)
        for client in leaving:
            client.wire.close(WSCloseCode.GOING_AWAY, "the control plane is shutting down")
        await asyncio.gather(*(client.wire.closed() for client in leaving))
        await self._hub.stop()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        upgrade.check(request, self._origins)
        admitted = await self._admission.of(request)
        if admitted is not None:
            await self._enter(admitted.principal)
        socket = await upgrade.upgrade(request, compression=True)
        if request.transport is None:
            return socket
        wire = Wire(socket, request.transport, budget=self._budget)
        try:
            admitted = admitted or await self._first(request, socket)
        except SwarmError as error:
            wire.push(frames.text({"type": "error", **described(error, known_id(request))}))
            wire.close(WSCloseCode.POLICY_VIOLATION, error.message)
            await wire.closed()
            return socket
        await self._serve(Client(wire, admitted, known_id(request)), socket)
        return socket

    async def _first(self, request: web.BaseRequest, socket: web.WebSocketResponse) -> Pass:
        """The credential of a client that shows it in its first message, at once."""
        try:
            async with asyncio.timeout(FIRST_S):
                said = parsed(await socket.receive())
        except TimeoutError:
            raise Unauthenticated(f"no credential came within {FIRST_S:g} s") from None
        if said.get("type") != "auth" or not isinstance(said.get("token"), str):
            raise Unauthenticated('the first message is {"type": "auth", "token": …}')
        admitted = await self._admission.by_token(request, said["token"])
        await self._enter(admitted.principal)
        return admitted

    async def _serve(self, client: Client, socket: web.WebSocketResponse) -> None:
        if self._stopping:
            client.wire.close(WSCloseCode.GOING_AWAY, "the control plane is shutting down")
        self._open.add(client)
        try:
            with metrics.API_STREAMS.labels("ws").track_inprogress():
                client.say("ready", principal=client.admitted.principal.name)
                while (message := await socket.receive()).type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                    await self._take(client, message)
        finally:
            self._open.discard(client)
            for task in client.joining.values():
                task.cancel()
            for source in client.rooms.values():
                self._hub.leave(client.wire, source.name)
            await client.wire.closed()

    async def _take(self, client: Client, message: Any) -> None:
        if message.type is WSMsgType.BINARY:
            client.wire.close(WSCloseCode.UNSUPPORTED_DATA, "this takes text only")
            return
        try:
            said = parsed(message)
            await self._act(client, said)
        except SwarmError as error:
            client.fail(error)

    async def _act(self, client: Client, said: Mapping[str, Any]) -> None:
        match said.get("type"):
            case "subscribe":
                await self._subscribe(client, said)
            case "unsubscribe":
                self._unsubscribe(client, names_in(said))
            case "ping":
                client.say("pong")
            case "auth":
                raise InvalidInput("this socket has its credential")
            case _:
                raise InvalidInput(
                    "type is subscribe, unsubscribe or ping", violations=(Violation("/type", "unknown"),)
                )

    async def _subscribe(self, client: Client, said: Mapping[str, Any]) -> None:
        names = names_in(said)
        if len(client.rooms.keys() | set(names)) > MOST_ROOMS:
            raise InvalidInput(f"a socket has at most {MOST_ROOMS} rooms", reason="too_many_rooms")
        cursors = {name: cursor_in(said, name) for name in names}
        call = Call(client.request_id, client.admitted.principal, self._store.now())
        found = await self._store.read(lambda reader: self._look(reader, call, cursors))
        for name, place in found.items():
            if isinstance(place, SwarmError):
                client.fail(place, room=name)
            else:
                self._join(client, name, *place)

    def _look(
        self, reader: Reader, call: Call, cursors: Mapping[str, int | None]
    ) -> Mapping[str, tuple[Source, int] | SwarmError]:
        """Each room that is there, and where its events begin."""
        found: dict[str, tuple[Source, int] | SwarmError] = {}
        for name, cursor in cursors.items():
            try:
                source = self._directory.find(reader, call, name)
                newest = source.newest(reader)
                found[name] = source, start(newest, cursor)
            except SwarmError as error:
                found[name] = error
        return found

    def _join(self, client: Client, name: str, source: Source, cursor: int) -> None:
        if any(known.name == source.name for known in client.rooms.values()):
            client.fail(InvalidInput("this socket is in that room already", reason="subscribed_already"), room=name)
            return
        client.rooms[name] = source
        client.say("subscribed", room=source.name, asked=name, cursor=cursor)
        task = asyncio.create_task(self._hub.join(client.wire, source, cursor))
        client.joining[name] = task
        task.add_done_callback(lambda done: self._joined(client, name, done))

    def _joined(self, client: Client, name: str, done: asyncio.Task[None]) -> None:
        client.joining.pop(name, None)
        if not done.cancelled() and done.exception() is not None:
            client.wire.close(WSCloseCode.TRY_AGAIN_LATER, "the room cannot be read now")

    def _unsubscribe(self, client: Client, names: list[str]) -> None:
        for name in names:
            if task := client.joining.pop(name, None):
                task.cancel()
            if source := client.rooms.pop(name, None):
                self._hub.leave(client.wire, source.name)
            client.say("unsubscribed", room=source.name if source else name)

    async def _sweep(self) -> None:
        """Closes the sockets whose credential is over; each credential is looked at once."""
        while True:
            await asyncio.sleep(RECHECK_S)
            known: dict[tuple[Authenticate, str], str] = {}
            for client in tuple(self._open):
                shown = client.admitted
                credential = shown.authenticate, shown.metadata.get("authorization", "")
                if credential not in known:
                    known[credential] = _over(shown)
                if known[credential]:
                    client.wire.close(WSCloseCode.POLICY_VIOLATION, known[credential])


def _over(shown: Pass) -> str:
    """Why a credential no longer stands for whom it stood; empty: it does."""
    try:
        now = shown.authenticate(shown.metadata)
    except (Unauthenticated, Forbidden) as error:
        return error.message
    except SwarmError:
        return ""  # nobody can tell now
    return "" if now == shown.principal else "the credential was revoked"
