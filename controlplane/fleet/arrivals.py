"""Which hello of a host is its newest: one that was sent long ago may arrive after those that were sent since."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from controlplane.errors import Conflict
from swarm.hostlink.v1 import hostlink_pb2 as pb

MOST_PAST: Final = 16


@dataclass(slots=True)
class _Newest:
    """`past` are the boot ids of daemons that others took over from, which never come back."""

    boot_id: str = ""
    stream: int = 0
    past: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_PAST))


class Arrivals:
    """What was seen since this control plane started; streams to the one before ended with it."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Newest] = {}

    def admit(self, host_id: str, hello: pb.Hello) -> None:
        """`Conflict` for a stream that its host has given up: what it does not name is not lost."""
        newest = self._hosts.setdefault(host_id, _Newest())
        if hello.boot_id in newest.past:
            words = "another daemon took over from this one; stop one of them, or start this one anew"
            raise Conflict(words, reason="superseded")
        if hello.boot_id == newest.boot_id and 0 < hello.stream <= newest.stream:
            raise Conflict("a newer connection of this host came before", reason="superseded")
        if newest.boot_id not in {"", hello.boot_id}:
            newest.past.append(newest.boot_id)
        newest.boot_id, newest.stream = hello.boot_id, hello.stream
