"""Around all other stages: whose work it is in every line of the log, and how it ended in metrics and one line."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from controlplane import metrics
from controlplane.api.answer import told
from controlplane.api.methods import Method
from controlplane.api.stages.identify import HEADER as REQUEST_ID
from controlplane.api.stages.identify import correlation_id, request_id
from controlplane.errors import SwarmError
from telemetry.logs import begin, lines
from telemetry.traceparent import HEADER as TRACEPARENT
from telemetry.traceparent import received

LONGEST_ERROR: Final = 500

log = logging.getLogger("controlplane.api.pipeline")
calls = lines("controlplane.api.pipeline")


class Observed:
    """Counts and logs the call that is made within, and lets out nothing but `SwarmError`.

    `principal` is set once it is known; `trace` is a traceparent.
    """

    __slots__ = ("_began", "_method", "_peer", "principal", "request_id", "trace")

    def __init__(self, method: Method, metadata: Mapping[str, str], peer: str) -> None:
        self._method = method.name
        self._peer = peer
        self.principal = ""
        known = told().setdefault(REQUEST_ID, request_id(metadata))
        self.request_id = known
        trace = received(metadata.get(TRACEPARENT, ""))
        self.trace = str(trace)
        begin(
            request_id=known,
            correlation_id=correlation_id(metadata) or trace.trace_id,
            trace_id=trace.trace_id,
            span_id=trace.span_id,
        )
        self._began = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._tell("OK")
        elif isinstance(error, SwarmError):
            self._tell(error.code, error.message)
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._tell("CANCELLED")
        elif isinstance(error, Exception):
            log.error("call failed", extra={"method": self._method}, exc_info=error)
            self._tell("INTERNAL")
            raise SwarmError(f"internal error, see the log for {self.request_id}") from None
        else:
            self._tell("INTERNAL")

    def seconds(self) -> float:
        """Since the call began."""
        return time.perf_counter() - self._began

    def _tell(self, code: str, error: str = "") -> None:
        metrics.requests(self._method, code).inc()
        fields = {"method": self._method, "principal": self.principal, "peer": self._peer, "code": code}
        if error:
            fields["error"] = error[:LONGEST_ERROR]
        calls.info("call", **fields, seconds=round(self.seconds(), 6))
