"""Tells what an agent says for the first time from what it repeats."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from swarm.guest.v1 import guest_pb2

REMEMBERED = 1000


class Novelty:
    """Remembers the last REMEMBERED things that were said, so that a loop of fewer lines is one."""

    def __init__(self) -> None:
        self._said: OrderedDict[int, None] = OrderedDict()

    def any_new(self, events: Iterable[guest_pb2.GuestEvent]) -> bool:
        """Whether one of them was not said lately. All are remembered."""
        return sum(self._is_new(event) for event in events) > 0

    def _is_new(self, event: guest_pb2.GuestEvent) -> bool:
        data = event.data.SerializeToString(deterministic=True) if event.HasField("data") else b""
        key = hash((event.type, event.text, data))
        known = key in self._said
        self._said[key] = None
        self._said.move_to_end(key)
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        return not known
