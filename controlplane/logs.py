"""The request id of the call that is worked on; see `telemetry.logs` for how lines are written."""

from __future__ import annotations

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
