"""The first process. As PID 1 it reaps every orphan and never exits; the runtime is its child."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from . import runtime
from .settings import Settings, load


def main() -> None:
    """A plain process is the runtime itself and ends with it."""
    settings = load()
    if settings.plain:
        runtime.run(settings)
        return
    child = _start(settings, crashed="")
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            signal.pause()
            continue
        if pid == child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # what it left behind
            child = _start(settings, crashed=_describe(status))


def _start(settings: Settings, *, crashed: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        runtime.run(settings, crashed=crashed)
    except BaseException as error:  # noqa: BLE001 - the parent starts another one
        print(f"SWARM FAILED {error!r}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)


def _describe(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"the guest runtime was killed by signal {os.WTERMSIG(status)}; the VM may be short of memory"
    return f"the guest runtime ended with status {os.waitstatus_to_exitcode(status)}"
