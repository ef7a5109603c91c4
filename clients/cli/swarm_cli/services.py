"""The processes of the embedded deployment: a control plane and one host, each with a log and a pid file."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swarm_sdk.errors import FailedPreconditionError

STOP_TIMEOUT_S = 60.0
TELLING_LINES = 5
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Service:
    """One background process. `state_dir` is that of the deployment."""

    name: str
    state_dir: Path
    argv: tuple[str, ...]

    @property
    def log(self) -> Path:
        return self.state_dir / "log" / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        return self.state_dir / "run" / f"{self.name}.pid"

    def pid(self) -> int | None:
        """Pid of the running process; None when it is gone, whatever the file says."""
        try:
            pid, start = (int(word) for word in self.pid_file.read_text(encoding="ascii").split())
        except (OSError, ValueError):
            return None
        return pid if _started(pid) == start else None

    def start(self) -> subprocess.Popen[bytes]:
        """Starts it in a session of its own, so that Ctrl-C in our terminal does not reach it."""
        for folder in (self.log.parent, self.pid_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
            _expect_ours(folder)
        with os.fdopen(os.open(self.log, _APPEND, 0o600), "ab") as log:
            command = [sys.executable, "-m", *self.argv]
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.pid_file.write_text(f"{child.pid} {_started(child.pid)}\n", encoding="ascii")
        return child

    def stop(self) -> bool:
        """Asks it to end and waits; True when there was one. FailedPrecondition when it does not end in time."""
        pid = self.pid()
        if pid is None:
            self.pid_file.unlink(missing_ok=True)
            return False
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self.pid() is not None:
            _reap(pid)
            if time.monotonic() > deadline:
                raise FailedPreconditionError(f"{self.name} (pid {pid}) does not end; see {self.log}")
            time.sleep(0.05)
        self.pid_file.unlink(missing_ok=True)
        return True

    def last_step(self) -> tuple[int, str] | None:
        """Percent and words of what it prepares right now, as it logs them; None when its last line is another."""
        try:
            last = json.loads(self.last_words().rpartition("\n")[2] or "{}")
        except ValueError:
            return None
        if not isinstance(last, dict) or "percent" not in last:
            return None
        return int(last["percent"]), str(last.get("step", ""))

    def last_words(self) -> str:
        """The end of its log, for the message about its end."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-TELLING_LINES:])


def services(state_dir: Path, host_options: Sequence[str] = ()) -> tuple[Service, Service]:
    """Control plane and host of the embedded deployment in `state_dir`."""
    host_dir = state_dir / "host"
    host = (
        "hostd", "--state-dir", str(host_dir), "--instance", HOST_NAME,
        "--control", f"unix:{state_dir / 'controlplane.sock'}",
        "--token-file", str(state_dir / "hosts" / f"{HOST_NAME}.token"), *host_options,
    )  # fmt: skip
    control = ("controlplane", "--state-dir", str(state_dir))
    return Service("controlplane", state_dir, control), Service("hostd", state_dir, host)


HOST_NAME = "local"


def _expect_ours(folder: Path) -> None:
    """FailedPrecondition when somebody else may put links where we are going to write."""
    for each in (folder, folder.parent):
        facts = each.lstat()
        if facts.st_uid not in {os.geteuid(), 0} or facts.st_mode & 0o002 or not stat.S_ISDIR(facts.st_mode):
            raise FailedPreconditionError(
                f"{each} is not a folder that only we can write to; choose another --state-dir"
            )


def _started(pid: int) -> int:
    """Start time of a process in clock ticks: with the pid it names one process for ever. 0: none, or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # started by another invocation: its parent reaps it
