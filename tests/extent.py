"""How much a test does: little by default, much with SWARM_LONG=1, and from which seed."""

from __future__ import annotations

import os
import time
from typing import TypeVar

T = TypeVar("T")


def long() -> bool:
    return os.environ.get("SWARM_LONG") == "1"


def either(quick: T, thorough: T) -> T:
    """The second in the long form."""
    return thorough if long() else quick


def seed() -> int:
    """SWARM_SEED, to do again what failed, or a new one. Whoever uses it says so in its failure."""
    return int(os.environ.get("SWARM_SEED") or time.time_ns() & 0xFFFFFFFF)


def minutes() -> float:
    """How long what goes on for as long as is asked for does so: SWARM_MINUTES in the long form, else not at all."""
    return either(0.0, float(os.environ.get("SWARM_MINUTES") or 30))
