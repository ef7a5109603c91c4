"""How this process shares its time between threads, and how often it looks for garbage."""

from __future__ import annotations

import gc
import sys

# The writer gives the interpreter up with each statement and wants it back after microseconds; by default whoever has
# it meanwhile may keep it for five milliseconds.
SWITCH_S = 0.0005
# Nearly everything here is freed by its reference count; what a collection walks is the long-lived rest.
YOUNG, MIDDLE, OLD = 20_000, 20, 50


def set_up() -> None:
    """Call it once, when everything is imported."""
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
