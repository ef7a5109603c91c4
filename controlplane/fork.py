"""Makes starting children safe beside gRPC.

uvloop forks, and runs Python in the child until it execs. A garbage collection there may finalise an object of gRPC,
which waits for a thread that exists in the parent only: the child spins for ever, and the parent waits for it.
"""

from __future__ import annotations

import gc
import os


def without_collection() -> None:
    """From now on no collection runs while this process forks, nor in a child before it execs. Call it once."""
    os.register_at_fork(before=gc.disable, after_in_parent=gc.enable)
