"""Rows of the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who did what, in which request; `time` in epoch seconds, `seq` from 1 in the order of the commits."""

    seq: int
    time: float
    action: str
    principal: str
    request_id: str
    data: Mapping[str, Any]
