"""One process of a deployment: started for real, killed for real, its log kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.e2e.harness.waiting import until

STOP_PATIENCE_S = 60.0


class Process:
    """`python -m MODULE OPTIONS...`, in a session of its own, started by the command `within` if there is one."""

    def __init__(
        self, argv: Sequence[str], log: Path, environment: Mapping[str, str], *, within: Sequence[str] = ()
    ) -> None:
        self.argv = [*within, sys.executable, "-m", *argv]
        self.name = argv[0]
        self.log = log
        self.environment = dict(environment)
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        """Start it; `environment` holds for this start only."""
        assert not self.alive()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.argv,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self._child is not None, f"{self.name} was never started"
        return self._child.pid

    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, at once: nothing is flushed, nobody is told."""
        self.signal(signal.SIGKILL)
        self.wait()

    def terminate(self) -> int:
        """SIGTERM; answers the exit code. What does not end in time is killed, and the test fails."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        assert self._child is not None
        try:
            return self._child.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            raise AssertionError(f"{self.name} did not end:\n{self.tail()}") from None

    def close(self) -> None:
        """End it, whatever state it is in."""
        if not self.alive():
            return
        with suppress(AssertionError):
            self.signal(signal.SIGCONT)
            self.terminate()

    def tail(self, lines: int = 30) -> str:
        """The end of its log, for messages."""
        with suppress(OSError):
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        return ""

    def until_ended(self) -> int:
        """Exit code of a process that is expected to end by itself."""
        until(lambda: not self.alive(), f"{self.name} ends by itself", patience_s=STOP_PATIENCE_S)
        return self.wait()
