"""A real broker process, real staging repositories and a real upstream; only hostd's runner is played."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hostd.broker.client import BrokerClient
from hostd.git.repositories import GitRepositories
from hostd.ports import Capability, Checkout, Dependency, Limits
from swarm.guest.v1 import guest_pb2

BROKER = COURIER = SHARED = os.geteuid()
if os.geteuid() == 0:
    BROKER, COURIER, SHARED = 64100, 64101, 64100

GIT_ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "T",
    "GIT_AUTHOR_EMAIL": "t@example.org",
    "GIT_COMMITTER_NAME": "T",
    "GIT_COMMITTER_EMAIL": "t@example.org",
}


def git(cwd: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """git with nothing of the machine's configuration; both outputs in `stdout`."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        env=GIT_ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout
    return done


async def agit(cwd: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`git` in a thread, because the broker's client lives on the loop of the test."""
    return await asyncio.to_thread(git, cwd, *arguments, check=check)


def make_upstream(folder: Path, files: Mapping[str, str] | None = None) -> Path:
    """A repository with one commit on main."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for name, text in (files or {"README.md": "hello\n"}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@dataclass
class Records:
    """Implements `hostd.ports.BrokerEvents` and keeps what it is told; pushes upstream when there is a `pusher`."""

    first_bytes: dict[str, int] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    signs: list[tuple[str, int]] = field(default_factory=list)
    batches: list[tuple[str, guest_pb2.EventBatch, int]] = field(default_factory=list)
    pushes: list[tuple[str, str]] = field(default_factory=list)
    outcomes: list[tuple[str, guest_pb2.Outcome, bool, str]] = field(default_factory=list)
    denied: list[tuple[str, str]] = field(default_factory=list)
    found: list[tuple[str, list[str]]] = field(default_factory=list)
    progress: list[tuple[str, bool]] = field(default_factory=list)
    violations: list[tuple[str, str]] = field(default_factory=list)
    pusher: Any = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def first_byte(self, attempt_id: str, monotonic_ns: int) -> None:
        self.first_bytes[attempt_id] = monotonic_ns
        self.changed.set()

    def agent_started(self, attempt_id: str, monotonic_ns: int) -> None:
        self.started.append(attempt_id)
        self.changed.set()

    def alive(self, attempt_id: str, monotonic_ns: int) -> None:
        self.signs.append((attempt_id, monotonic_ns))
        self.changed.set()

    def events(self, attempt_id: str, batch: bytes, *, logs: int = 0) -> None:
        self.batches.append((attempt_id, guest_pb2.EventBatch.FromString(batch), logs))
        self.changed.set()

    def push(self, attempt_id: str, head: str) -> None:
        self.pushes.append((attempt_id, head))
        if self.pusher is not None:
            self.task = asyncio.create_task(self.pusher(attempt_id, head))
        self.changed.set()

    def outcome(self, attempt_id: str, outcome: bytes, *, succeeded: bool, head: str) -> None:
        self.outcomes.append((attempt_id, guest_pb2.Outcome.FromString(outcome), succeeded, head))
        self.changed.set()

    def progressed(self, attempt_id: str, *, asking: bool) -> None:
        self.progress.append((attempt_id, asking))
        self.changed.set()

    def blocked(self, attempt_id: str, call: str) -> None:
        self.denied.append((attempt_id, call))
        self.changed.set()

    def findings(self, attempt_id: str, findings: Sequence[str]) -> None:
        self.found.append((attempt_id, list(findings)))
        self.changed.set()

    def violation(self, attempt_id: str, reason: str) -> None:
        self.violations.append((attempt_id, reason))
        self.changed.set()

    async def until(self, condition: Any, timeout_s: float = 60) -> None:
        """Wait until `condition()` holds."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def texts(self, attempt_id: str, kind: str) -> list[str]:
        """Texts of all events of a type."""
        found = [event for attempt, batch, _ in self.batches if attempt == attempt_id for event in batch.events]
        return [event.text for event in found if event.type == kind]


@dataclass
class Guest:
    """One attached attempt and the address that its VM would see."""

    attempt_id: str
    port: int
    push_ref: str
    checkout: Checkout | None
    listener: socket.socket

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/git/repo.git"

    def exchange(self, data: bytes, timeout_s: float = 5) -> bytes:
        """Send raw bytes, read until the broker closes or falls silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as sock:
            sock.sendall(data)
            answer = b""
            try:
                while piece := sock.recv(65536):
                    answer += piece
            except (TimeoutError, ConnectionResetError):
                pass
            return answer

    def request(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json", **headers: str
    ) -> bytes:
        """One well-formed request on a connection of its own."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", "Connection: close"]
        if body:
            lines += [f"Content-Length: {len(body)}", f"Content-Type: {kind}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return self.exchange("\r\n".join([*lines, "", ""]).encode() + body)


class Brokerage:
    """The parts that a test needs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records = Records()
        self.broker = BrokerClient(BROKER, SHARED)
        self.repositories = GitRepositories(root / "git", uid=COURIER, gid=SHARED, broker_uid=BROKER)
        self.guests: list[Guest] = []
        self.upstream = Path()

    async def push(self, attempt_id: str, head: str) -> None:
        """What hostd's runner does when the broker asks."""
        error = None
        try:
            ref = next(guest.push_ref for guest in self.guests if guest.attempt_id == attempt_id)
            await self.repositories.push(attempt_id, head, ref)
        except Exception as failure:  # noqa: BLE001 - any failure is an answer
            error = str(failure)
        await self.broker.pushed(attempt_id, head, error)

    async def attach(
        self,
        attempt_id: str,
        *,
        upstream: Path | None = None,
        dependencies: Sequence[Dependency] = (),
        work: Mapping[str, Any] | None = None,
        bundles: Mapping[str, Path] | None = None,
        limits: Limits | None = None,
        doorbell: int = -1,
        fence: int = 1,
    ) -> Guest:
        """A capability on a listening socket of its own."""
        checkout = None
        if upstream is not None:
            checkout = await self.repositories.prepare(attempt_id, str(upstream), "main", dependencies, "")
        listener = socket.create_server(("127.0.0.1", 0))
        guest = Guest(
            attempt_id, listener.getsockname()[1], f"refs/heads/swarm/{attempt_id}/a{fence}", checkout, listener
        )
        self.guests.append(guest)
        fields = dict(work or {"ticket_key": attempt_id, "fence": str(fence)})
        if checkout is not None:
            fields["checkout"] = {
                "url": guest.url,
                "base": checkout.base,
                "push_ref": guest.push_ref,
                "author_name": "Swarm",
                "author_email": "swarm@localhost",
                "conflicts": list(checkout.conflicts),
                "merge_heads": list(checkout.merge_heads),
            }
        capability = Capability(
            attempt_id=attempt_id,
            fence=fence,
            work=fields,
            bundles=bundles or {},
            staging=checkout.staging if checkout else None,
            push_ref=guest.push_ref,
            artifacts=self.root / "artifacts" / attempt_id,
            limits=limits or Limits(),
        )
        await self.broker.attach(capability, listener.fileno(), doorbell)
        return guest


def _open_folder() -> Path:
    """A temporary folder that unprivileged users can pass through."""
    root = Path(tempfile.mkdtemp(prefix="swarm-test-"))
    root.chmod(0o711)
    return root


@asynccontextmanager
async def brokerage() -> AsyncIterator[Brokerage]:
    """Everything started; stopped and removed at the end."""
    root = _open_folder()
    house = Brokerage(root)
    house.records.pusher = house.push
    try:
        await house.repositories.open()
        await house.broker.start(house.records)
        yield house
    finally:
        await house.broker.stop()
        for guest in house.guests:
            guest.listener.close()
        shutil.rmtree(root)
