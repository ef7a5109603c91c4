"""Puts a control plane together, in an order in which nothing half started is ever reachable."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, Final

from controlplane import metrics
from controlplane.accounts.authenticator import Authenticator
from controlplane.accounts.claims import ClaimSecrets
from controlplane.accounts.pictures import PillowPictures
from controlplane.accounts.tokens import Tokens
from controlplane.api.grpc_edge import GrpcEdge, Listen
from controlplane.api.handlers import External, People, Runtime, all_bindings
from controlplane.api.methods import methods, services
from controlplane.api.pipeline import Dispatcher
from controlplane.api.stages.proxies import Proxies
from controlplane.api.stages.ratelimit import RateLimit
from controlplane.audit import keys
from controlplane.audit.trail import FILE as HEADS
from controlplane.audit.trail import Trail
from controlplane.backup.archivist import Archivist
from controlplane.backup.restore import refuse_half_restored
from controlplane.config import OPTIONS, Config
from controlplane.domain.cleanup import Retention
from controlplane.domain.lease import LeaseTimes
from controlplane.domain.retry import RetryTimes
from controlplane.errors import Unavailable
from controlplane.events.bus import LocalBus
from controlplane.fleet.link import HostLink
from controlplane.forge.git import Credentials
from controlplane.forge.local import LocalForge
from controlplane.forge.mirror import Mirrors
from controlplane.forge.smarthttp import SmartHttp
from controlplane.forge.workspaces import GitWorkspaces
from controlplane.gateway.front import Handler
from controlplane.gateway.git import GitHttp, url_with
from controlplane.gateway.probes import Check
from controlplane.gauges import Gauges
from controlplane.http import Http
from controlplane.ports import Store
from controlplane.ratelimits.shared import Shared
from controlplane.ratelimits.window import Window
from controlplane.reconcile.circuits import Circuits
from controlplane.reconcile.cleanup import Cleanup
from controlplane.reconcile.leases import LeaseKeeper
from controlplane.reconcile.outbox import Outbox, Sender
from controlplane.scheduler.loop import Scheduler
from controlplane.secret import Secrets
from controlplane.signin import leave_setup_link, mail, outside, senders, signing_in, telling
from controlplane.space import DiskSpace
from controlplane.statedir import locked
from controlplane.stores.sqlite import SqliteStore
from controlplane.tuning import Tuner, settings_of
from controlplane.usecases import workflows
from controlplane.usecases.accounts.parts import Accounts
from controlplane.usecases.claiming import Claims
from controlplane.usecases.claims import admitted
from controlplane.usecases.coordinator import Disk
from controlplane.usecases.publishing import register_builtins
from controlplane.usecases.services import Services

log = logging.getLogger(__name__)

AGENTS: Final = Path(__file__).parent / "agents"
WORKFLOWS: Final = Path(__file__).parent / "workflows"


def version() -> str:
    try:
        return package_version("swarm")
    except PackageNotFoundError:
        return "unknown"


@asynccontextmanager
async def running(config: Config, secrets: Secrets | None = None) -> AsyncIterator[GrpcEdge]:
    """A control plane that serves. `StartError`, and nothing left behind, when it cannot."""
    async with AsyncExitStack() as stack:
        stack.enter_context(locked(config.state_dir))
        refuse_half_restored(config.state_dir)
        tokens = Tokens(config.state_dir)
        tokens.ensure(config.hosts)
        bus = LocalBus()
        secrets = secrets or secrets_of(config, {})
        secrets.load()
        store = SqliteStore(config.database, bus, seals=keys.seals(secrets, config.state_dir))
        await store.open()
        stack.push_async_callback(store.close)
        trail = await audit(stack, store, config, secrets)
        accounts, authenticator = await signing_in(stack, config, store, bus, tokens, secrets=secrets)
        await register_builtins(store, AGENTS)
        await workflows.register_builtins(store, WORKFLOWS)
        times = LeaseTimes(config.lease_ttl, RetryTimes(config.retry_delays))
        link = HostLink(store, times)
        await link.open()
        space = DiskSpace(config.state_dir, bus, min_free_bytes=config.min_free_mib << 20)
        await space.start()
        stack.push_async_callback(space.stop)
        mirrors = Mirrors(config.state_dir / "git", Credentials(config.git_credentials, config.git_ssh_key))
        services_ = Services(store, bus, link, LocalForge(mirrors))
        notices, mailer = telling(config, accounts), mail(config, secrets)
        performed = senders(config, notices, mailer)
        loops_ = await loops(stack, services_, config, times, performed, database=store, space=space, link=link)
        tuner = await tuned(stack, store, bus, config, loops_.cleanup)
        workspaces = GitWorkspaces(config.state_dir / "git" / "claims", mirrors)
        limits = await limiters(stack, secrets)
        people = People(notices, PillowPictures(), settings_of(config), tuner.refresh, outside(mailer, limits[1]))
        claims = Claims(store, bus, loops_.scheduler, workspaces, times=times)
        http = Http(config)
        claim_secrets, git_url = git_urls(config, http)
        external = External(claims, times, git_url)
        archivist = Archivist(config.state_dir, version())
        parts = Parts(
            services_, link, loops_, authenticator, accounts, space, archivist, external, people, trail, *limits
        )
        git = git_handler(config, store, workspaces, claim_secrets)
        edge = await edges(stack, config, parts, http, git=git, limits=tuner.limits)
        # Last to start and first to stop: calls that wait for a ticket must not hold the edge up.
        await claims.start()
        stack.push_async_callback(claims.stop)
        yield edge


@dataclass(frozen=True, slots=True)
class Loops:
    """What works without being called, as far as calls ask it something."""

    scheduler: Scheduler
    leases: LeaseKeeper
    cleanup: Cleanup
    circuits: Circuits
    times: LeaseTimes


@dataclass(frozen=True, slots=True)
class Parts:
    """What calls are answered with."""

    services: Services
    link: HostLink
    loops: Loops
    authenticator: Authenticator
    accounts: Accounts
    space: DiskSpace
    archivist: Archivist
    external: External
    people: People
    trail: Trail
    window: Window
    shared: Shared | None


async def tuned(stack: AsyncExitStack, store: Store, bus: LocalBus, config: Config, cleanup: Cleanup) -> Tuner:
    """What can be changed while it runs."""
    tuner = Tuner(store, bus, config)
    tuner.apply = lambda values: cleanup.keep(retention(values))
    await tuner.start()
    stack.push_async_callback(tuner.stop)
    return tuner


async def edges(
    stack: AsyncExitStack, config: Config, parts: Parts, http: Http, *, git: Handler, limits: Mapping[str, int]
) -> GrpcEdge:
    """Opens what clients reach; it is closed first."""
    dispatcher, services_, authenticator = pipeline(config, parts, limits), parts.services, parts.authenticator
    stack.enter_context(metrics.served(config.metrics))
    edge = GrpcEdge(dispatcher, services(), listen(config))
    await edge.start()
    stack.push_async_callback(edge.stop)
    stack.push_async_callback(http.stop)
    await http.start(
        dispatcher,
        services_,
        authenticator.authenticate,
        tickets=authenticator,
        checks=readiness(services_.store, parts.loops.scheduler, parts.space),
        others={"git": git},
    )
    await leave_setup_link(services_.store, config.state_dir, http.url)
    return edge


async def audit(stack: AsyncExitStack, store: SqliteStore, config: Config, secrets: Secrets) -> Trail:
    """The audit log's chain, sound and watched."""
    files = [config.state_dir / HEADS, *((config.audit_head,) if config.audit_head else ())]
    trail = Trail(store, lambda: keys.seals(secrets, config.state_dir), files, every_s=config.audit_head_every)
    await trail.start()
    stack.push_async_callback(trail.stop)
    secrets.on_change(lambda _: trail.renew())
    return trail


async def limiters(stack: AsyncExitStack, secrets: Secrets) -> tuple[Window, Shared | None]:
    """What counts calls: this process, and Redis where one is named."""
    window, url = Window(), secrets.get("REDIS_URL")
    if url is None:
        return window, None
    shared = Shared(url, window)
    stack.push_async_callback(shared.close)
    secrets.on_change(lambda _: shared.renew(secrets.get("REDIS_URL")))
    return window, shared


async def loops(
    stack: AsyncExitStack,
    services_: Services,
    config: Config,
    times: LeaseTimes,
    performed: Mapping[str, Sender],
    *,
    database: SqliteStore,
    space: DiskSpace,
    link: HostLink,
) -> Loops:
    """Starts what works without being called; it stops after the edge and before the store."""
    store, bus, fleet = services_.store, services_.bus, services_.fleet
    circuits = Circuits(store, bus)
    scheduler = Scheduler(
        store,
        bus,
        fleet,
        times=times,
        hold=lambda: space.refusal,
        listening=link.listening,
        room=circuits.room,
    )
    leases = LeaseKeeper(store, fleet, times=times, sweep_s=times.sweep_s, unstored_at=lambda: database.full_at)
    retention = Retention(config.retention_days, config.branch_retention_days)
    cleanup = Cleanup(store, fleet, leases.turn, retention=retention, every_s=config.cleanup_every)
    outbox = Outbox(store, bus, services_.forge, fleet, senders=performed)
    workers = (leases, outbox, scheduler, cleanup, circuits, Gauges(store, bus))
    for worker in workers:
        await worker.start()
        stack.push_async_callback(worker.stop)
    return Loops(scheduler, leases, cleanup, circuits, times)


def retention(values: Mapping[str, Any]) -> Retention:
    return Retention(values["retention_days"], values["branch_retention_days"])


def git_urls(config: Config, served: Http) -> tuple[ClaimSecrets, Callable[[str], str]]:
    """What claims prove themselves with, and what makes the git URL of an attempt."""
    secrets = ClaimSecrets(config.state_dir)
    return secrets, lambda attempt_id: url_with(served.url, attempt_id, secrets.of(attempt_id))


def git_handler(config: Config, store: Store, workspaces: GitWorkspaces, secrets: ClaimSecrets) -> Handler:
    async def admit(attempt_id: str) -> object:
        return await store.read(lambda reader: admitted(reader, attempt_id, store.now()))

    return GitHttp(SmartHttp(workspaces, config.push_mib << 20), secrets, admit).handle


def readiness(store: Store, scheduler: Scheduler, space: DiskSpace) -> Mapping[str, Check]:
    """What /readyz asks."""

    async def stored() -> None:
        await store.read(lambda reader: reader.setting("coordinator"))

    async def scheduled() -> None:
        if not scheduler.running:
            raise Unavailable("the scheduler does not run")

    async def roomy() -> None:
        space.check()

    return {"store": stored, "scheduler": scheduled, "space": roomy}


def pipeline(config: Config, parts: Parts, limits: Mapping[str, int]) -> Dispatcher:
    space, services_, loops_ = parts.space, parts.services, parts.loops
    runtime = Runtime(
        started_at=services_.store.now(),
        version=version(),
        connected=parts.link.connected,
        unplaceable=lambda tenant_id: loops_.scheduler.status(tenant_id).unplaceable,
        disk=lambda: Disk(space.free_bytes, space.refusal),
        alerts=loops_.leases.alerts,
        cleanup=loops_.cleanup.everything,
        times=loops_.times,
        circuit=loops_.circuits.circuit,
        inspect=parts.trail.inspect,
    )
    return Dispatcher(
        methods(services()),
        all_bindings(
            parts.link,
            runtime,
            parts.archivist,
            parts.external,
            parts.accounts,
            people=parts.people,
            allow_file=config.allow_file_repositories,
        ),
        services_,
        authenticate=parts.authenticator.authenticate,
        rate_limit=RateLimit(limits, admin=config.rate_limit_admin, window=parts.window, shared=parts.shared),
        proxies=Proxies(config.trusted_proxies),
        take_work=space.check,
    )


def listen(config: Config) -> Listen:
    return Listen(
        socket=config.socket,
        address=config.listen,
        certificate=config.tls_certificate,
        key=config.tls_key,
        client_ca=config.tls_client_ca,
        reflection=config.reflection,
        max_message_bytes=config.max_message_mib << 20,
        max_concurrent_rpcs=config.max_concurrent_rpcs,
    )


def secrets_of(config: Config, environment: Mapping[str, str]) -> Secrets:
    """`StartError` of its `load` also says what the configuration lacks for a secret, and the other way round."""
    required = (*config.require_secrets, *(("GITHUB_CLIENT_SECRET",) if config.github_client_id else ()))
    unset = [name for name in OPTIONS if not getattr(config, name)]
    return Secrets(environment, config.env_file or config.state_dir / ".env", required=required, unset=unset)


async def serve(config: Config, environment: Mapping[str, str]) -> None:
    """Runs until SIGTERM or SIGINT; SIGHUP has it read its secrets again."""
    secrets = secrets_of(config, environment)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, secrets.reload)
    async with running(config, secrets):
        log.info("ready", extra={"socket": str(config.socket), "listen": config.listen, "version": version()})
        await stop.wait()
        log.info("stopping")
