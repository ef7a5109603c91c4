"""How much a test does: little by default, much with SWARM_LONG=1, and from which seed."""

from __future__ import annotations

import os


def scaled(quick: int, long: int) -> int:
    return long if os.environ.get("SWARM_LONG") == "1" else quick


def seed() -> int:
    """SWARM_SEED does again what failed."""
    return int(os.environ.get("SWARM_SEED", "1"))
