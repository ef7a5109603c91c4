"""Composition root: builds the parts, starts them in order, and takes them down in reverse."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine
from importlib import metadata
from pathlib import Path
from typing import Any

from hostd import failpoint, ids, metrics
from hostd import messages as m
from hostd.broker.client import BrokerClient
from hostd.capacity import capacity
from hostd.config import Config
from hostd.drivers.sim.host import SimHost
from hostd.drivers.sim.settings import SimSettings
from hostd.errors import ConfigError
from hostd.git.repositories import GitRepositories
from hostd.lease import LeaseKeeper
from hostd.link.bundles import Bundles
from hostd.link.channel import Endpoint
from hostd.link.client import Link
from hostd.link.console import LinkConsoles
from hostd.ports import Limits, Progress, VmHost
from hostd.runner.journal import Journal
from hostd.runner.parts import Parts, Timing
from hostd.runner.runner import Runner
from hostd.session import Session
from hostd.statedir import StateDir
from telemetry.redaction import keep_secret

log = logging.getLogger("hostd")

STOP_S = 60.0


def version() -> str:
    try:
        return metadata.version("swarm")
    except metadata.PackageNotFoundError:
        return "0"


def read_token(path: Path) -> str:
    """`ConfigError` when there is none. The token never reaches a log from here on."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: no host token ({error}); the control plane writes one for each host"]) from error
    if not token:
        raise ConfigError([f"{path}: is empty; the control plane writes a token for each host"])
    keep_secret(token)
    return token


def leftovers(state_dir: Path) -> tuple[tuple[Path, str], ...]:
    """Where interrupted or damaged files may lie, and what they are called."""
    attempts, bundles = state_dir / "attempts", state_dir / "bundles"
    return ((attempts, "*.damaged"), (attempts, ".*.new"), (bundles, ".part_*"))


def vm_host(config: Config) -> VmHost:
    return _qemu(config) if config.driver == "qemu" else _sim(config)


def _qemu(config: Config) -> VmHost:
    # Simulated VMs need none of these native parts.
    from hostd.pool.config import PoolConfig  # noqa: PLC0415
    from hostd.pool.layer import VmLayer  # noqa: PLC0415
    from hostd.pool.marks import Marks  # noqa: PLC0415

    marks = Marks(config.pool_ready_low, config.pool_ready_high, config.pool_spawned_low, config.pool_spawned_high)
    return VmLayer(
        PoolConfig(
            state_dir=config.state_dir,
            instance=config.instance,
            uid_base=config.uid_base,
            max_vms=config.max_vms,
            max_memory_mib=capacity(config).memory_mib,
            marks=marks,
            accel=config.accel,
            prepare=config.default_image,
            cache_dir=config.cache_dir,
            cache_budget_mib=config.cache_budget_mib,
        )
    )


def _sim(config: Config) -> VmHost:
    settings = SimSettings(
        max_vms=config.max_vms,
        instant=config.sim_instant,
        acquire_ms=config.sim_acquire_ms,
        boot_ms=config.sim_boot_ms,
        run_ms=config.sim_run_ms,
        boot_failure_rate=config.sim_boot_failure_rate,
        death_rate=config.sim_death_rate,
        death_within_ms=config.sim_death_within_ms,
        seed=config.sim_seed,
        images=tuple({"default", config.default_image}),
    )
    return SimHost(config.state_dir / "vms", settings)


def endpoint(config: Config) -> Endpoint:
    return Endpoint(config.control, read_token(config.token_path), config.ca, config.certificate, config.key)


class App:
    """One running host daemon."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._boot_id = ids.new("boot")
        self._vms = vm_host(config)
        self._link = Link(endpoint(config))
        self._broker = BrokerClient(config.uid_base, config.uid_base)
        self._repositories = self._git()
        self._journal = Journal(config.state_dir / "attempts")
        self._runner = Runner(self._parts(), stats_every_s=config.stats_every_s, idle_vm_s=config.idle_vm_s)
        self._keeper = LeaseKeeper(self._runner, self._link.send, self._link.reconnect)
        self._session = Session(self._hello, self._keeper, self._runner)
        self._tasks: list[asyncio.Task[None]] = []

    def _git(self) -> GitRepositories:
        config = self._config
        return GitRepositories(
            config.state_dir / "git",
            uid=config.uid_base + 1,
            gid=config.uid_base,
            broker_uid=config.uid_base,
            credentials=config.git_credentials,
            ssh_key=config.git_ssh_key,
            allow_file=config.allow_file_repositories,
            budget_mib=config.mirror_budget_mib,
        )

    def _parts(self) -> Parts:
        config = self._config
        return Parts(
            vms=self._vms,
            broker=self._broker,
            repositories=self._repositories,
            bundles=Bundles(config.state_dir / "bundles", self._link),
            uplink=self._link,
            consoles=LinkConsoles(self._link),
            journal=self._journal,
            gate=self._gate,
            artifacts=config.state_dir / "artifacts",
            leftovers=leftovers(config.state_dir),
            default_image=config.default_image,
            limits=Limits(pack_bytes=config.pack_mib << 20),
            timing=Timing(
                config.prepare_timeout_s, config.boot_timeout_s, config.max_attempt_s, stall=config.stall_after_s
            ),
        )

    async def _gate(self) -> None:
        await self._keeper.wait_good()

    def _hello(self, attempts: tuple[m.AttemptRef, ...]) -> m.Hello:
        return m.Hello(
            name=self._config.name,
            version=version(),
            boot_id=self._boot_id,
            capacity=capacity(self._config),
            drivers=tuple(self._vms.drivers),
            isolation=self._vms.isolation,
            labels=self._config.labels,
            warnings=tuple(self._vms.warnings),
            attempts=attempts,
            images=tuple(image.name for image in self._vms.images()),
        )

    async def run(self) -> None:
        """Until cancelled, or until a part ends that never should."""
        try:
            await self._start()
            log.info("ready", extra={"isolation": self._vms.isolation.value, "state_dir": str(self._config.state_dir)})
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await self._stop()

    async def _start(self) -> None:
        adopted = await self._vms.recover()
        await self._repositories.open(keep=[entry.id for entry in self._journal.load()])
        await self._broker.start(self._runner)
        await self._runner.adopt(adopted)
        await self._vms.open(_log_progress)
        self._begin(self._link.run(self._session))
        self._begin(self._keeper.run())
        self._begin(self._runner.reports.run())
        self._begin(self._runner.health.run(self._config.health_every_s))
        self._begin(self._runner.cleaner.run(self._config.cleanup_every_s))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def _stop(self) -> None:
        """The link goes last but for the VMs: results of attempts that end now still want to be told."""
        keep = self._config.keep_vms
        log.info("stopping", extra={"keep_vms": keep})
        await self._runner.stop(keep_vms=keep)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._broker.stop()
        await self._vms.close(keep_vms=keep)
        await self._link.close()


def _log_progress(progress: Progress) -> None:
    log.info("preparing", extra={"percent": int(progress.fraction * 100), "step": progress.message})


async def serve(config: Config) -> None:
    """Run until SIGTERM or SIGINT. `HostError` for whatever keeps it from starting; nothing is left half done."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    failpoint.arm()
    state = StateDir(config.state_dir)
    state.open()
    try:
        with metrics.served(config.metrics):
            app = asyncio.ensure_future(App(config).run())
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait({app, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            await _end(app)
    finally:
        state.close()


async def _end(app: asyncio.Future[None]) -> None:
    app.cancel()
    try:
        async with asyncio.timeout(STOP_S):
            await app
    except asyncio.CancelledError:
        log.info("stopped")
    except TimeoutError:
        log.exception("not stopped in time", extra={"seconds": STOP_S})
