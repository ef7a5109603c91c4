"""Servers on this machine that answer whoever reaches them, and a capture of frames that should not arrive."""

from __future__ import annotations

import selectors
import socket
import subprocess
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

MARK = b"canary-frame"
ALL_PROTOCOLS = 3


def addresses() -> list[str]:
    """Addresses of this machine that others could reach."""
    listed = subprocess.run(["hostname", "-I"], check=True, capture_output=True, text=True).stdout.split()
    return [address for address in listed if "%" not in address]


class Ears:
    """Listens on TCP and UDP of every address and captures on every interface. A context manager."""

    def __init__(self) -> None:
        self._heard: list[str] = []
        self._selector = selectors.DefaultSelector()
        self._tcp = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.port: int = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("", self.port))
        self._capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        for each in (self._tcp, self._udp, self._capture, self._stopped):
            self._selector.register(each, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.send(b"x")
        self._thread.join()
        for each in (self._tcp, self._udp, self._capture, self._stop, self._stopped):
            each.close()
        self._selector.close()

    def heard(self) -> list[str]:
        """What arrived so far."""
        return list(self._heard)

    def forget(self) -> None:
        self._heard.clear()

    def call_yourself(self) -> None:
        """Reaches the servers as a guest would if it could."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as stream:
            stream.recv(10)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            datagram.settimeout(5)
            datagram.sendto(MARK, ("127.0.0.1", self.port))
            datagram.recv(100)

    def _listen(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stopped:
                    return
                with suppress(OSError):
                    self._take(key.fileobj)

    def _take(self, ready: object) -> None:
        if ready is self._tcp:
            stream, peer = self._tcp.accept()
            self._heard.append(f"tcp from {peer[0]}")
            with stream:
                stream.send(b"canary-reply")
        elif ready is self._udp:
            data, peer = self._udp.recvfrom(2000)
            self._heard.append(f"udp from {peer[0]}: {data[:40]!r}")
            self._udp.sendto(b"canary-reply", peer)
        else:
            data, where = self._capture.recvfrom(2000)
            if MARK in data:
                self._heard.append(f"frame on {where[0]}")
