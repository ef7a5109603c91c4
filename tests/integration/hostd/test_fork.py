"""Children start although a collection in one of them would hang it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, gc, os, sys
import uvloop
if sys.argv[1]:
    __import__(sys.argv[1], fromlist=["fork"]).without_collection()

class Clinging:
    def __init__(self):
        self.me, self.pid = self, os.getpid()
    def __del__(self):
        while os.getpid() != self.pid:
            pass

async def main():
    # Garbage that a collection in the child would meet at once.
    os.register_at_fork(after_in_child=lambda: (gc.isenabled() and gc.collect()))
    gc.disable()
    Clinging()
    gc.enable()
    child = await asyncio.create_subprocess_exec("true")
    assert await child.wait() == 0
    assert gc.isenabled()

uvloop.run(main())
"""


def start(module: str) -> int:
    """Exit code of the script; TimeoutExpired when it hangs, with nothing left of it."""
    child = subprocess.Popen([sys.executable, "-c", SCRIPT, module], start_new_session=True)
    try:
        return child.wait(timeout=60 if module else 2)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@pytest.mark.parametrize("module", ["controlplane.fork", "hostd.fork"])
def test_no_collection_runs_between_fork_and_exec(module: str) -> None:
    assert start(module) == 0


def test_without_it_the_child_hangs() -> None:
    """What the guard is for: should this fail, uvloop no longer runs Python in a child, and the guard can go."""
    with pytest.raises(subprocess.TimeoutExpired):
        start("")
