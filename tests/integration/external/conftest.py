"""A control plane with an external agent, a repository, and programs that claim tickets with the real SDK and git."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controlplane.domain import bundle
from swarm_sdk import Claim, Client, Project, ProjectSpec, Ticket, TicketSpec
from tests.e2e.harness.upstream import IDENTITY, Upstream
from tests.fakes.control import Control, control_plane

AGENT = "porter"


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, as Unix sockets need."""
    with tempfile.TemporaryDirectory(prefix="swarm-") as folder:
        yield Path(folder) / "state"


@pytest.fixture
async def control(home: Path) -> AsyncIterator[Control]:
    async with control_plane(home) as running:
        yield running


@pytest.fixture
async def client(control: Control) -> AsyncIterator[Client]:
    async with control.client() as opened:
        await publish(opened)
        yield opened


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream.create(tmp_path / "upstream.git", {"README": "hello\n", "a.txt": "one\n"})


@pytest.fixture
async def project(client: Client, upstream: Upstream) -> Project:
    return await client.projects.create(ProjectSpec(name="demo", repository=str(upstream.path), agent=AGENT))


@pytest.fixture
async def claimed(client: Client, project: Project, tmp_path: Path) -> Claimed:
    """A ticket of the project, claimed, and its clone."""
    await client.tickets.create(TicketSpec(title="Port it", project_id=project.id))
    claim = await client.tickets.claim([AGENT])
    assert claim
    return Claimed(claim, await clone(claim, tmp_path / "work"))


async def publish(client: Client, name: str = AGENT) -> None:
    """Registers an external agent."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = f'{{"name": "{name}", "version": "1.0.0", "external": true}}'
        Path(folder, "agent.json").write_text(manifest)  # noqa: ASYNC240 - a test may write a file
        await client.registry.publish(bundle.pack(Path(folder)))


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Clone:
    """A checkout of a program, with its real git."""

    folder: Path

    async def git(self, *arguments: str, config: tuple[str, ...] = ()) -> Done:
        return await git(*arguments, cwd=self.folder, config=config)

    async def ok(self, *arguments: str) -> str:
        done = await self.git(*arguments)
        assert done.code == 0, f"git {' '.join(arguments)}: {done.err}"
        return done.out.strip()

    async def commit(self, name: str, content: str | bytes, message: str = "Change", *options: str) -> str:
        """Writes a file and commits it; the new head."""
        data = content.encode() if isinstance(content, str) else content
        (self.folder / name).write_bytes(data)
        await self.ok("add", "--all")
        await self.ok("commit", "--quiet", f"--message={message}", *options)
        return await self.ok("rev-parse", "HEAD")


@dataclass(frozen=True)
class Claimed:
    claim: Claim
    clone: Clone

    @property
    def ticket(self) -> Ticket:
        return self.claim.ticket


async def git(*arguments: str, cwd: Path, config: tuple[str, ...] = ()) -> Done:
    options = [word for each in config for word in ("-c", each)]
    child = await asyncio.create_subprocess_exec(
        "git",
        *options,
        *arguments,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **IDENTITY},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate()
    return Done(child.returncode or 0, out.decode(), err.decode())


async def clone(claim: Claim, folder: Path) -> Clone:
    done = await git("clone", "--quiet", claim.git_url, str(folder), cwd=folder.parent)
    assert done.code == 0, done.err
    return Clone(folder)
