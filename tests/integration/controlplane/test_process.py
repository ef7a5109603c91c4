"""The control plane as a process: how it starts, refuses to start, ends and comes back."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest

from controlplane import failpoint
from controlplane.app import running
from controlplane.config import Config
from controlplane.stores.sqlite import SqliteStore
from swarm_sdk import Client, HostState, TicketSpec, UnavailableError
from tests.fakes import host as fake
from tests.fakes.control import Control, control_plane, eventually

ROOT = Path(__file__).parents[3]


def command(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "controlplane", "--state-dir", str(home), *arguments]


def environment(**extra: str) -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], **extra}


@asynccontextmanager
async def process(home: Path, *arguments: str, **extra: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One that is ready; it is killed at the end of the block if it still runs."""
    started = await asyncio.create_subprocess_exec(
        *command(home, *arguments), cwd=ROOT, env=environment(**extra), stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            while (line := await reader(started).readline()) and json.loads(line)["message"] != "ready":
                pass
        assert line, "it ended before it was ready"
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


def reader(started: asyncio.subprocess.Process) -> asyncio.StreamReader:
    assert started.stderr is not None
    return started.stderr


def refused(home: Path, *arguments: str, **extra: str) -> str:
    """The one line with which it refuses to start."""
    done = subprocess.run(
        command(home, *arguments),
        cwd=ROOT,
        env=environment(**extra),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    assert not (home / "controlplane.sock").exists()
    return lines[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly_with_streams_open(home: Path, number: signal.Signals) -> None:
    async with process(home) as started, Client.open(home, retries=0) as client:
        ticket = await client.tickets.create(TicketSpec(title="x"), hold=True)
        watch = client.tickets.watch(ticket.id)
        await anext(watch)
        started.send_signal(number)
        with pytest.raises(UnavailableError):
            await anext(watch)
        async with asyncio.timeout(60):
            assert await started.wait() == 0
    assert not (home / "controlplane.sock").exists()


async def test_a_killed_one_comes_back_with_all_that_it_answered(home: Path) -> None:
    async with process(home) as started, Client.open(home) as client:
        made = [await client.tickets.create(TicketSpec(title=f"t{number}"), hold=True) for number in range(5)]
        started.kill()
        await started.wait()
    async with process(home), Client.open(home) as client:
        assert await client.tickets.list() == made


async def test_a_crash_between_commit_and_reply_is_invisible_to_who_repeats(home: Path) -> None:
    async with process(home, SWARM_FAILPOINT="after_commit_before_reply=kill") as started:
        async with Client.open(home, retries=0) as client:
            with pytest.raises(UnavailableError):
                await client.tickets.create(TicketSpec(title="x"), key="k")
        assert await started.wait() == -signal.SIGKILL
    async with process(home), Client.open(home) as client:
        made = await client.tickets.create(TicketSpec(title="x"), key="k")
        assert [ticket.id for ticket in await client.tickets.list()] == [made.id]


async def test_two_of_them_never_share_a_state_directory(home: Path) -> None:
    async with process(home):
        done = await asyncio.create_subprocess_exec(
            *command(home), cwd=ROOT, env=environment(), stderr=asyncio.subprocess.PIPE
        )
        _, told = await done.communicate()
        assert done.returncode == 2
        assert b"in use by the control plane with pid" in told
        async with Client.open(home) as client:
            await client.coordinator.status()


def test_configuration_that_is_wrong_is_one_line(home: Path) -> None:
    told = refused(home, "--rate-limit", "many", SWARM_CONTROLPLANE_RATELIMIT="1")
    assert "rate_limit: must be a whole number" in told
    assert "did you mean rate_limit?" in told


def test_a_database_that_is_none_is_one_line(home: Path) -> None:
    home.mkdir()
    (home / "controlplane.db").write_bytes(b"not a database" * 1000)
    assert "controlplane.db" in refused(home)


def test_a_token_that_others_can_read_is_one_line(home: Path) -> None:
    home.mkdir()
    (home / "admin.token").write_text("swm_adm_x\n")
    (home / "admin.token").chmod(0o644)
    assert "chmod 600" in refused(home)


def test_a_path_that_is_too_long_for_a_socket_is_one_line(home: Path) -> None:
    assert "too long for a Unix socket" in refused(home / ("x" * 100))


def test_an_address_that_is_taken_is_one_line(home: Path) -> None:
    assert "cannot serve metrics" in refused(home, "--metrics", "192.0.2.1:9")


METRICS = (
    'swarm_api_requests_total{code="OK",method="swarm.ticket.v1.TicketService.CreateTicket"}',
    'swarm_vms_active{host="local"} 1.0',
    'swarm_tickets_total{state="completed"}',
    "swarm_api_latency_seconds_bucket",
    "swarm_hosts_connected 1.0",
)


async def test_metrics_name_what_happened(home: Path) -> None:
    port = free_port()
    served = control_plane(home, metrics=f"127.0.0.1:{port}")
    async with served as control, control.client() as client, control.host() as host:
        ticket = await client.tickets.create(TicketSpec(title="x"))
        await host.deliver(fake.vm_report("vm_a"))
        await host.run(await host.assignment(), head="")
        await client.tickets.wait(ticket.id, timeout_s=10)

        async def missing() -> set[str]:
            page = await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}/metrics")
            return {line for line in METRICS if line not in page}

        await eventually(missing, set[str]())  # counts of tickets are taken once a second


def fetch(url: str) -> str:
    with urlopen(url) as page:  # noqa: S310  # our own address
        return str(page.read().decode())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    files = tmp_path / "tls.pem", tmp_path / "tls.key"
    kind = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    named = ("-addext", "subjectAltName=DNS:localhost", "-out", str(files[0]), "-keyout", str(files[1]))
    subprocess.run(["openssl", *kind.split(), *named], check=True, capture_output=True)
    return files


async def test_tcp_is_served_with_tls_only(home: Path, certificate: tuple[Path, Path]) -> None:
    pem, key = certificate
    config = Config(state_dir=home, listen="localhost:0", tls_certificate=pem, tls_key=key)
    async with running(config) as edge:
        token = Control(config).token()
        trusted = grpc.ssl_channel_credentials(pem.read_bytes())
        async with Client(f"localhost:{edge.port}", token, credentials=trusted, retries=0) as client:
            await client.tickets.list()
        async with Client(f"localhost:{edge.port}", token, retries=0, timeout_s=2) as plain:
            with pytest.raises(UnavailableError):
                await plain.tickets.list()
        assert ssl.get_server_certificate(("localhost", edge.port)) == pem.read_text()


async def test_a_certificate_that_cannot_be_read_leaves_nothing_behind(home: Path, tmp_path: Path) -> None:
    none = str(tmp_path / "none")
    told = refused(home, "--listen", "localhost:0", "--tls-certificate", none, "--tls-key", none)
    assert "cannot read" in told


async def test_a_burst_of_a_host_becomes_few_writes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one write is on its way, what arrives waits for the next and shares it."""
    writes = 0
    write = SqliteStore.write

    async def slow(self: SqliteStore, work: object) -> object:
        nonlocal writes
        writes += 1
        await asyncio.sleep(0.02)
        return await write(self, work)  # type: ignore[arg-type]

    async with control_plane(home) as control, control.client() as client, control.host() as host:
        await client.tickets.create(TicketSpec(title="x"))
        ref = (await host.assignment()).attempt
        monkeypatch.setattr(SqliteStore, "write", slow)
        for number in range(300):
            await host.send(fake.logged(ref, str(number)))
        await host.until(lambda: host.acked >= host.seq)
    assert writes < 100


async def test_the_link_survives_a_fault_after_its_commit(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The acknowledgement is lost with the stream; what was committed is not done again."""
    async with control_plane(home) as control, control.client() as client, control.host() as host:
        ticket = await client.tickets.create(TicketSpec(title="x"))
        ref = (await host.assignment()).attempt
        await host.deliver(fake.running(ref))
        monkeypatch.setattr(failpoint, "_armed", {"link_after_commit": "error"})
        await host.send(fake.logged(ref, "once"))
        assert host.reading is not None
        with pytest.raises(grpc.aio.AioRpcError):
            await host.reading
        monkeypatch.setattr(failpoint, "_armed", {})
        await host.attach()
        assert host.welcome.resume_from == host.seq
        await host.deliver(fake.logged(ref, "twice"))
        events = await client.tickets.events(ticket.id, types=["agent.log"])
        assert [event.data["text"] for event in events] == ["once", "twice"]


async def test_hosts_of_the_time_before_are_offline_until_they_attach(home: Path) -> None:
    async with process(home) as started, Client.open(home) as client:
        host = fake.FakeHost(home / "controlplane.sock", (home / "hosts" / "local.token").read_text().strip())
        await host.attach()
        assert (await client.coordinator.status()).hosts_online == 1
        started.kill()
        await started.wait()
        await host.detach()
        await host.channel.close()
    async with control_plane(home) as control, control.client() as client:
        assert (await client.hosts.get("local")).state == HostState.HOST_STATE_OFFLINE
