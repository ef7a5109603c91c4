"""First stage: a request id that is in every log line, error and audit row of the call."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Final

HEADER: Final = "x-request-id"
CORRELATION: Final = "x-correlation-id"
_GIVEN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def correlation_id(metadata: Mapping[str, str]) -> str:
    """What the caller calls a piece of work of several calls, where it is harmless."""
    given = metadata.get(CORRELATION, "")
    return given if _GIVEN.fullmatch(given) else ""


def request_id(metadata: Mapping[str, str]) -> str:
    """The caller's own id where it is harmless, else a new one."""
    given = metadata.get(HEADER, "")
    return given if _GIVEN.fullmatch(given) else f"rq_{secrets.token_hex(10)}"
