"""Commands to hosts, and the updates that come back until one is done."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from controlplane.errors import SwarmError, Unavailable
from controlplane.fleet.peer import Peer
from controlplane.fleet.wire import command_out, error_of, update_in
from controlplane.ports import CommandUpdate
from swarm.hostlink.v1 import hostlink_pb2 as pb

MOST_UPDATES: Final = 1000


@dataclass(slots=True)
class Pending:
    """A command that runs on a host; `updates` ends with one that is done, or an error."""

    host_id: str
    updates: asyncio.Queue[CommandUpdate | SwarmError] = field(default_factory=asyncio.Queue)

    def tell(self, update: CommandUpdate | SwarmError) -> None:
        """Progress that nobody reads is dropped; an end never is."""
        ended = isinstance(update, SwarmError) or update.done
        if ended or self.updates.qsize() < MOST_UPDATES:
            self.updates.put_nowait(update)


class Commands:
    """All commands of the process, by id."""

    def __init__(self) -> None:
        self._pending: dict[str, Pending] = {}

    async def run(self, peer: Peer, verb: str, arguments: Mapping[str, Any]) -> AsyncGenerator[CommandUpdate, None]:
        """Sends a command and follows it to its end; whoever stops reading stops following."""
        command_id, pending = self.open(peer.host_id)
        event = pb.ControlEvent(command=command_out(command_id, verb, arguments))
        peer.tell(event)
        try:
            while True:
                update = await pending.updates.get()
                if isinstance(update, SwarmError):
                    raise update
                yield update
                if update.done:
                    return
        finally:
            peer.outbound.withdraw(event)
            self.close(command_id)

    def open(self, host_id: str) -> tuple[str, Pending]:
        command_id = f"cm_{secrets.token_hex(13)}"
        pending = self._pending[command_id] = Pending(host_id)
        return command_id, pending

    def close(self, command_id: str) -> None:
        self._pending.pop(command_id, None)

    def update(self, host_id: str, message: pb.CommandUpdate) -> None:
        """An update from a host; one for a command that it was not given is ignored."""
        pending = self._pending.get(message.command_id)
        if pending is None or pending.host_id != host_id:
            return
        if message.error_code:
            pending.tell(error_of(message.error_code, message.error[:2000]))
        else:
            pending.tell(update_in(message, host_id))

    def abandon(self, host_id: str) -> None:
        """The host is gone, or forgot what it was told."""
        for pending in self._pending.values():
            if pending.host_id == host_id:
                pending.tell(Unavailable("the host went away in the middle of the command", reason="host_away"))
