"""A disk of 16 MiB that fills up under a running control plane, and empties again."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from swarm.hostlink.v1.hostlink_pb2 import AttemptRef
from swarm_sdk import Client, ResourceExhaustedError, SwarmError, TicketSpec
from swarm_sdk.types import name_of
from tests.e2e.harness.waiting import eventually
from tests.fakes import host as fake
from tests.fakes.host import FakeHost
from tests.integration.controlplane.test_process import fetch, free_port

ROOT = Path(__file__).parents[3]
TTL_S = 3


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    with tempfile.TemporaryDirectory(prefix="swarm-") as folder:
        image, mounted = Path(folder) / "image", Path(folder) / "d"
        mounted.mkdir()
        with image.open("wb") as file:
            file.truncate(16 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(mounted)], check=True)
        try:
            yield mounted
        finally:
            subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def fill(disk: Path, leave_kib: int = 0) -> None:
    """Until so much is free, or nothing, down to the last block."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for step in (1 << 20, 64 << 10, 4 << 10):
            with suppress(OSError):
                while (found := os.statvfs(disk)).f_bavail * found.f_frsize - step >= leave_kib << 10:
                    file.write(b"\0" * step)


def empty(disk: Path) -> None:
    (disk / "filler").unlink()


@asynccontextmanager
async def control_plane(disk: Path, port: int) -> AsyncIterator[Path]:
    """Its log is on the full disk too, as `swarm up` has it."""
    state, log = disk / "state", disk / "log"
    arguments = ["--state-dir", str(state), "--min-free-mib", "2", "--lease-ttl", str(TTL_S)]
    command = [sys.executable, "-m", "controlplane", *arguments, "--metrics", f"127.0.0.1:{port}"]
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env={"PATH": os.environ["PATH"]}, stderr=stderr
        )
    try:
        async with asyncio.timeout(60):
            while not (state / "controlplane.sock").exists():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        yield state
        assert process.returncode is None
    finally:
        process.terminate()
        await process.wait()


async def test_a_full_disk_stops_new_work_and_nothing_else(disk: Path) -> None:
    port = free_port()
    async with control_plane(disk, port) as state, Client.open(state, retries=0) as client:
        host = FakeHost(state / "controlplane.sock", (state / "hosts/local.token").read_text().strip())
        await host.attach()
        kept = await client.tickets.create(TicketSpec(title="kept"))
        first = (await host.assignment()).attempt
        failing = await client.tickets.create(TicketSpec(title="fails"))
        second = (await host.assignment(2)).attempt
        await host.deliver(fake.running(first), fake.running(second))

        # Little is left: what runs is served, nothing new begins.
        fill(disk, leave_kib=1500)
        await eventually(lambda: refused(client), "new work is refused")
        await check_refusal(client)
        await host.deliver(fake.logged(first, "still heard"), fake.finished(second, cause="host_failed"))
        host.attempts.remove(second)
        assert name_of(await client.tickets.get(failing.id), "state") == "ready"

        # Nothing is left: reads and leases go on, results wait with the host.
        fill(disk)
        await until_unstored(host, first)
        await renewed_for(host, first, seconds=2 * TTL_S + 1)
        result = await host.send(fake.finished(first, head=""))
        await check_refusal(client)
        assert name_of(await client.tickets.get(kept.id), "state") == "running"
        assert name_of(await client.tickets.get(failing.id), "state") == "ready", "placed on a full disk"
        assert re.search(r"^swarm_disk_full 1\.0$", await asyncio.to_thread(page, port), re.MULTILINE)
        assert host.acked < result

        # There is space again: everything goes on by itself.
        empty(disk)
        await host.send(fake.renewal(99, first))
        await host.until(lambda: host.acked >= result)
        host.attempts.clear()
        assert name_of(await client.tickets.wait(kept.id, timeout_s=10), "state") == "completed"
        assert len(await client.tickets.attempts(kept.id)) == 1
        await host.expect("assignment", 3)
        made = [await client.tickets.create(TicketSpec(title="new"), hold=True) for _ in range(3)]
        assert len({each.id for each in made}) == 3
        told = await asyncio.to_thread(page, port)
        assert 'code="INTERNAL"' not in told
        assert re.search(r"^swarm_disk_full 0\.0$", told, re.MULTILINE)
        await host.detach()
        await host.channel.close()
    assert '"trace"' not in (disk / "log").read_text()


def page(port: int) -> str:
    return fetch(f"http://127.0.0.1:{port}/metrics")


async def refused(client: Client) -> bool:
    return bool((await client.coordinator.status()).disk_full)


async def check_refusal(client: Client) -> None:
    """A typed error that says what to do, for every change; reads go on."""
    changes = (
        client.tickets.create(TicketSpec(title="x")),
        client.coordinator.stop(),
        client.hosts.cordon("local"),
    )
    for change in changes:
        with pytest.raises(ResourceExhaustedError) as error:
            await change
        assert error.value.reason == "disk_full"
        assert error.value.retry_after_s
        assert "free some space" in error.value.message
    assert len(await client.tickets.list()) == 2


async def until_unstored(host: FakeHost, ref: AttemptRef) -> None:
    """Writes until something is not acknowledged any more: the log of the database has no room left."""
    for _ in range(400):
        seq = await host.send(fake.renewal(0, ref), fake.logged(ref, *("x" * 8000 for _ in range(20))))
        try:
            async with asyncio.timeout(1), host.arrived:
                await host.arrived.wait_for(lambda seq=seq: host.acked >= seq)  # type: ignore[misc]
        except TimeoutError:
            return
    raise AssertionError("everything was stored on a full disk")


async def renewed_for(host: FakeHost, ref: AttemptRef, seconds: float) -> None:
    """Each renewal is answered with the lease."""
    async with asyncio.timeout(60):
        for nonce in range(1, max(2, int(seconds / 0.5))):
            count = sum(event.HasField("renewed") for event in host.received)
            await host.send(fake.renewal(nonce, ref))
            answer = (await host.expect("renewed", count + 1))[-1].renewed
            assert [each.attempt_id for each in answer.attempts] == [ref.attempt_id]
            await asyncio.sleep(0.5)


def test_a_start_on_a_full_disk_is_one_line(disk: Path) -> None:
    fill(disk)
    command = [sys.executable, "-m", "controlplane", "--state-dir", str(disk / "state")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if not line.startswith("{")] == done.stderr.splitlines()[-1:]


async def test_a_backup_that_does_not_fit_is_refused_and_leaves_nothing(disk: Path, tmp_path: Path) -> None:
    async with control_plane(disk, free_port()) as state, Client.open(state, retries=0) as client:
        fill(disk, leave_kib=100)
        with pytest.raises(SwarmError) as error:
            async for _ in client.coordinator.backup(tmp_path / "b.tar"):
                pass
        assert error.value.code == "RESOURCE_EXHAUSTED"
        assert not list(tmp_path.iterdir())  # noqa: ASYNC240
        empty(disk)
        steps = [json.dumps(str(answer.step)) async for answer in client.coordinator.backup(tmp_path / "b.tar")]
        assert steps
