"""First stage: a request id that is in every log line, error and audit row of the call, and where it comes from."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

HEADER: Final = "x-request-id"
CORRELATION: Final = "x-correlation-id"
_GIVEN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def correlation_id(metadata: Mapping[str, str]) -> str:
    """What the caller calls a piece of work of several calls, where it is harmless."""
    given = metadata.get(CORRELATION, "")
    return given if _GIVEN.fullmatch(given) else ""


def address_of(peer: str) -> str:
    """The IP address in what a transport says of its peer, such as "ipv4:127.0.0.1:9"; empty on a Unix socket."""
    kind, _, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return ""
    return unquote(rest).rpartition(":")[0].strip("[]")


def request_id(metadata: Mapping[str, str]) -> str:
    """The caller's own id where it is harmless, else a new one."""
    given = metadata.get(HEADER, "")
    return given if _GIVEN.fullmatch(given) else f"rq_{random.getrandbits(80):020x}"
