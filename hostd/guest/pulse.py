"""Answers the broker's question whether this guest is alive, beside the work and whatever that does."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading

from .transport import Transport

PING = b"ping"
_ANSWER_S = 10


def answer_pings(bell: socket.socket, transport: Transport) -> None:
    """From now on, in a thread of its own that sleeps in between. Not before there is work: see `runtime`."""
    threading.Thread(target=_answer, args=(bell, transport), daemon=True).start()


def _answer(bell: socket.socket, transport: Transport) -> None:
    while True:
        if bell.recv(64) == PING:  # the rest are rings that came late
            with contextlib.suppress(OSError, http.client.HTTPException):
                transport.once("POST", "/v1/pong", timeout_s=_ANSWER_S)
