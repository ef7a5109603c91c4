"""A control plane and hosts as real processes under one short-lived state directory."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from swarm_sdk.client import Client
from swarm_sdk.errors import SwarmError
from swarm_sdk.types import Host, HostState
from tests.e2e.harness import cli, inventory
from tests.e2e.harness.process import Process
from tests.e2e.harness.upstream import Upstream
from tests.e2e.harness.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
LOCAL = "local"
DRIVERS = {"sim": "sim", "real": "qemu"}
ONLINE_PATIENCE_S = 60.0
BAKE_PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start. Options are appended to the command lines; `each` holds those of single hosts by name.

    `kinds` names hosts of another kind than the rest. `within` gives commands that start a host elsewhere, such as in a
    network namespace.
    """

    kind: str
    hosts: tuple[str, ...] = (LOCAL,)
    max_vms: int = 4
    control: tuple[str, ...] = ()
    host: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    each: dict[str, tuple[str, ...]] = field(default_factory=dict)
    within: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def kind_of(self, name: str) -> str:
        return self.kinds.get(name, self.kind)

    @property
    def real(self) -> tuple[str, ...]:
        """Hosts with real VMs."""
        return tuple(name for name in self.hosts if self.kind_of(name) == "real")


def clean_environment(home: Path) -> dict[str, str]:
    """What a process gets: an empty home, and nothing of the person who runs the tests."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "COLUMNS": "200"}


def cache_dir() -> Path:
    """Images and templates are made once and shared by all deployments: SWARM_TEST_CACHE, by default .cache/test."""
    return Path(os.environ.get("SWARM_TEST_CACHE") or ROOT / ".cache/test").absolute()


class Deployment:
    """Use it as an async context manager, or `open` and `close` it.

    The state directory is short, because socket paths may not be long, and readable, because git and the broker run
    without privileges.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.top = Path(tempfile.mkdtemp(prefix="sw-e2e-"))
        self.top.chmod(0o755)
        self.state = self.top / "s"
        self.home = self.top / "home"
        self.home.mkdir()
        self.before = self.inventory()
        self.control = self._control()
        self.hosts = {name: self._host(name) for name in plan.hosts}

    def _environment(self) -> dict[str, str]:
        # Tests ask more often than people; limits have tests of their own.
        limits = {f"SWARM_CONTROLPLANE_RATE_LIMIT{tier}": "100000" for tier in ("_AUTH", "_ADMIN")}
        return clean_environment(self.home) | limits | {"SWARM_STATE_DIR": str(self.state)} | self.plan.environment

    def _control(self) -> Process:
        names = ",".join(self.plan.hosts) or LOCAL
        argv = ["controlplane", "--state-dir", str(self.state), "--hosts", names, *self.plan.control]
        return Process(argv, self.top / "log/controlplane.log", self._environment())

    def _host(self, name: str) -> Process:
        argv = [
            "hostd", "--state-dir", str(self.host_dir(name)), "--instance", name,
            "--control", f"unix:{self.state / 'controlplane.sock'}",
            "--token-file", str(self.state / "hosts" / f"{name}.token"),
            "--driver", DRIVERS[self.plan.kind_of(name)], "--max-vms", str(self.plan.max_vms),
            "--cache-dir", str(cache_dir()), *self.plan.host, *self.plan.each.get(name, ()),
        ]  # fmt: skip
        within = self.plan.within.get(name, ())
        return Process(argv, self.top / f"log/{name}.log", self._environment(), within=within)

    def host_dir(self, name: str = LOCAL) -> Path:
        """State directory of one host."""
        return self.state / ("host" if name == LOCAL else f"host-{name}")

    @property
    def host(self) -> Process:
        return self.hosts[LOCAL]

    # Start and end

    async def open(self) -> Self:
        try:
            self.control.start()
            await self.until_served()
            for host in self.hosts.values():
                host.start()
            for name in self.hosts:
                await self.until_online(name)
            for name in self.plan.real:
                await self._bake(name)
        except BaseException:
            self.close()
            raise
        return self

    async def _bake(self, name: str) -> None:
        async with self.client() as client, asyncio.timeout(BAKE_PATIENCE_S):
            async for _ in client.hosts.bake_template(host=name):
                pass

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()
        self.control.close()
        if os.environ.get("SWARM_TEST_KEEP") != "1":
            shutil.rmtree(self.top, ignore_errors=True)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self.logs())
        self.close()

    # Ways in

    def client(self) -> Client:
        return Client.open(self.state)

    def swarm(self, *args: str, code: int | None = 0) -> cli.Done:
        """Runs `swarm ARGS...` against this deployment."""
        return cli.swarm(*args, environment=self._environment(), code=code)

    def swarm_json(self, *args: str) -> object:
        return self.swarm(*args, "--json").json

    @property
    def environment(self) -> dict[str, str]:
        return self._environment()

    def upstream(self, name: str, files: dict[str, str | bytes] | Path) -> Upstream:
        """A new git repository `name`, with `files` or the content of a folder."""
        path = self.top / "upstream" / f"{name}.git"
        if isinstance(files, Path):
            return Upstream.copy(path, files)
        return Upstream.create(path, files)

    # What is so

    async def until_served(self) -> None:
        """Until the control plane answers."""

        async def served() -> bool:
            assert self.control.alive(), f"the control plane ended:\n{self.control.tail()}"
            try:
                async with Client.open(self.state, retries=0) as client:
                    await client.coordinator.status()
            except SwarmError:
                return False
            return True

        await eventually(served, f"the control plane answers\n{self.control.tail()}", patience_s=ONLINE_PATIENCE_S)

    async def until_online(self, name: str = LOCAL) -> Host:
        """Until a host is attached."""

        async def online() -> Host | None:
            assert self.hosts[name].alive(), f"host {name} ended:\n{self.hosts[name].tail()}"
            try:
                async with Client.open(self.state, retries=0) as client:
                    found = await client.hosts.get(name)
            except SwarmError:
                return None
            return found if found.state == HostState.HOST_STATE_ONLINE else None

        found = await eventually(online, f"host {name} is online", patience_s=BAKE_PATIENCE_S)
        assert found is not None
        return found

    def inventory(self) -> inventory.Inventory:
        return inventory.take(self.state, {name: self.host_dir(name) for name in self.plan.hosts})

    def left(self) -> dict[str, frozenset[str]]:
        """What exists beyond what did before this deployment."""
        return self.inventory().beyond(self.before)

    def vm_pid(self, vm_id: str, name: str = LOCAL) -> int:
        """Process of a VM, to be killed."""
        return inventory.vm_pid(self.host_dir(name), vm_id)

    def logs(self) -> str:
        """The ends of all logs, for messages."""
        return "\n".join(f"--- {each.name} {each.log}\n{each.tail()}" for each in self.processes)

    @property
    def processes(self) -> Sequence[Process]:
        return (self.control, *self.hosts.values())
