"""A host somewhere else: a network namespace behind a virtual cable that can be pulled."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.harness.waiting import until

KIND = (
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=controlplane "
    "-addext subjectAltName=IP:{address}"
)


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


class Cable:
    """Needs root. `near` is the address here, `within` the command that starts a process at the far end."""

    def __init__(self, folder: Path) -> None:
        net = f"10.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
        self.near = f"{net}.1"
        self._far = f"{net}.2"
        self._device = f"sw{os.getpid()}"
        self._folder = folder
        # The namespace has no name: it lives as long as this process.
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], start_new_session=True)
        self.within = ("nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--")

    def __enter__(self) -> Self:
        ours = Path("/proc/self/ns/net").readlink()
        until(lambda: Path(f"/proc/{self._holder.pid}/ns/net").readlink() != ours, "the namespace exists")
        peer = f"{self._device}p"
        run("ip", "link", "add", self._device, "type", "veth", "peer", "name", peer, "netns", str(self._holder.pid))
        run("ip", "address", "add", f"{self.near}/24", "dev", self._device)
        run("ip", "link", "set", self._device, "up")
        run(*self.within, "ip", "address", "add", f"{self._far}/24", "dev", peer)
        for device in (peer, "lo"):
            run(*self.within, "ip", "link", "set", device, "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder.kill()
        self._holder.wait()
        subprocess.run(["ip", "link", "delete", self._device], check=False, capture_output=True)

    def pull(self) -> None:
        """Nothing gets through, and nobody is told."""
        run("ip", "link", "set", self._device, "down")

    def plug(self) -> None:
        run("ip", "link", "set", self._device, "up")

    def certificate(self) -> tuple[Path, Path]:
        """A key and a certificate of its own for a server at `near`: (certificate, key)."""
        certificate, key = self._folder / "server.pem", self._folder / "server.key"
        words = KIND.format(address=self.near).split()
        run("openssl", *words, "-keyout", str(key), "-out", str(certificate))
        return certificate, key

    def port(self) -> int:
        """A TCP port that is free here."""
        with closing(socket.create_server((self.near, 0))) as server:
            return int(server.getsockname()[1])
