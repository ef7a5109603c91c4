"""How the parts of a deployment are, for people who have to do something about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Status(IntEnum):
    """Ordered from good to bad."""

    OK = 1
    OFF = 2  # not configured
    WARNING = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    status: Status
    detail: str
    advice: str = ""
