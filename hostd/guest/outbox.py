"""Events on their way to the broker: numbered, batched, bounded. What does not fit is dropped and leaves a gap."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from typing import Any

from .transport import Refused, Transport

TEXT_LIMIT = 8 << 10
_BATCH = 256
_BATCH_BYTES = 256 << 10
_QUEUE_BYTES = 4 << 20
_LINGER_S = 0.05
_ROOM_WAIT_S = 0.5
_DROPPABLE = ("log", "progress")


class Outbox:
    """`put` may be called from any thread; one thread of its own sends."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Condition()
        self._queue: deque[tuple[int, dict[str, Any]]] = deque()
        self._bytes = 0
        self._seq = 0
        self._gap = 0
        self._sending = False
        self._closed = False
        threading.Thread(target=self._send_all, daemon=True).start()

    def put(self, kind: str, text: str = "", data: dict[str, Any] | None = None) -> None:
        """Add an event. With the queue full, waits a little, then drops what may be dropped."""
        event: dict[str, Any] = {"type": kind, "text": shorten(text), "time_ns": str(time.time_ns())}
        if data:
            event["data"] = data
        size = len(event["text"]) + (len(json.dumps(data)) if data else 0) + 100
        droppable = kind in _DROPPABLE
        with self._lock:
            self._lock.wait_for(
                lambda: self._closed or self._bytes + size <= _QUEUE_BYTES, _ROOM_WAIT_S if droppable else None
            )
            if self._closed or self._bytes + size > _QUEUE_BYTES:
                self._gap += 1
                return
            self._seq += 1
            event["seq"] = str(self._seq)
            if self._gap:
                event["gap"], self._gap = str(self._gap), 0
            self._queue.append((size, event))
            self._bytes += size
            self._lock.notify_all()

    def log(self, text: str, **data: Any) -> None:
        """A line for people."""
        self.put("log", text, data)

    def flush(self, timeout_s: float) -> None:
        """Wait until everything is sent, or the time is over."""
        with self._lock:
            self._lock.wait_for(lambda: self._closed or not (self._queue or self._sending), timeout_s)

    def _send_all(self) -> None:
        while True:
            batch = self._take()
            try:
                self._send(batch)
            except OSError:
                with self._lock:  # the broker is gone for good
                    self._closed = True
                    self._lock.notify_all()
                return

    def _take(self) -> list[dict[str, Any]]:
        with self._lock:
            self._sending = False
            self._lock.notify_all()
            self._lock.wait_for(lambda: bool(self._queue))
            self._lock.wait_for(self._is_pressing, _LINGER_S)
            self._sending = True
            batch: list[dict[str, Any]] = []
            size = 0
            while self._queue and len(batch) < _BATCH and size < _BATCH_BYTES:
                each, event = self._queue.popleft()
                size += each
                batch.append(event)
            self._bytes -= size
            self._lock.notify_all()
            return batch

    def _is_pressing(self) -> bool:
        """Whether there is no use in waiting for more: the batch is full, or holds what nobody should wait for."""
        return len(self._queue) >= _BATCH or any(event["type"] not in _DROPPABLE for _, event in self._queue)

    def _send(self, batch: list[dict[str, Any]]) -> None:
        try:
            self._transport.post("/v1/events", {"events": batch}, patience_s=600)
        except Refused:
            if len(batch) > 1:
                for event in batch:
                    self._send([event])
            elif batch[0].pop("data", None) is not None:  # an agent's data may be anything
                self._send(batch)


def shorten(text: str) -> str:
    """At most 8 KiB of UTF-8."""
    data = text.encode(errors="replace")
    if len(data) <= TEXT_LIMIT:
        return data.decode()
    return data[: TEXT_LIMIT - 4].decode(errors="ignore") + " …"
