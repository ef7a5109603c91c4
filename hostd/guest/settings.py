"""Where things are. The defaults are those of a VM; a plain process overrides them by its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

BROKER = "172.16.0.1:8000"
BELL = "0.0.0.0:7"
SCRATCH = "/scratch"


@dataclass(frozen=True)
class Settings:
    """`plain`: an ordinary process, which leaves clock, host name and mounts alone and stays below `root`."""

    broker: tuple[str, int]
    bell: tuple[str, int]
    root: str
    plain: bool
    traceparent: str = ""

    @property
    def checkout(self) -> str:
        return f"{self.root}/checkout"

    @property
    def agent(self) -> str:
        return f"{self.root}/agent"

    @property
    def home(self) -> str:
        return f"{self.root}/home" if self.plain else "/home/agent"

    @property
    def temporary(self) -> str:
        return f"{self.root}/tmp" if self.plain else "/tmp"  # noqa: S108 - a file system of its own

    def environment(self) -> dict[str, str]:
        """Of everything that is started for the ticket."""
        return {
            "PATH": os.environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            "HOME": self.home,
            "TMPDIR": self.temporary,
            "LANG": "C.UTF-8",
            "GIT_TERMINAL_PROMPT": "0",
            "PYTHONUNBUFFERED": "1",
            "SWARM_TICKET": f"{self.root}/ticket.json",
            "SWARM_INPUT": f"{self.root}/input.json",
            "SWARM_STEPS": f"{self.root}/steps.json",
            "ANTHROPIC_BASE_URL": f"http://{self.broker[0]}:{self.broker[1]}/anthropic",
            **({"TRACEPARENT": self.traceparent} if self.traceparent else {}),
        }


def load() -> Settings:
    """From SWARM_PLAIN, SWARM_BROKER, SWARM_BELL (both host:port) and SWARM_ROOT."""
    get = os.environ.get
    return Settings(
        _address(get("SWARM_BROKER", BROKER)),
        _address(get("SWARM_BELL", BELL)),
        get("SWARM_ROOT", SCRATCH),
        get("SWARM_PLAIN", "") == "1",
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
