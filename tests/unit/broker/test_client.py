"""What hostd makes of a broker that was taken over."""

from __future__ import annotations

import socket
from unittest.mock import Mock

from hostd.broker.client import BrokerClient
from hostd.broker.wire import Kind, Message
from hostd.ports import Capability, Limits


async def test_what_would_break_the_link_is_not_passed_on() -> None:
    broker, told = BrokerClient(0, 0), Mock()
    broker._events = told
    with socket.socket() as listener:
        capability = Capability("at_1", 1, {}, {}, None, "refs/heads/x", None, Limits())
        await broker.attach(capability, listener.fileno(), -1)
    for kind in (Kind.EVENTS, Kind.OUTCOME, Kind.BLOCKED):
        broker._receive(Message(kind, 0, 0, b" " * (4 << 20)), [])
    assert told.method_calls == []
    broker._receive(Message(Kind.EVENTS, 0, 2**64 - 1, b"batch"), [])
    told.events.assert_called_once_with("at_1", b"batch", logs=1000)
    await broker.detach("at_1")
