"""What a file survives: restarts, a killed writer, damage; and what is refused with one clear line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import apsw
import pytest

from controlplane.domain.event import NewEvent
from controlplane.domain.ticket import TicketState
from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.errors import DiskFull, StartError
from controlplane.events.bus import LocalBus
from controlplane.ports import Page, TicketFilter
from controlplane.stores.sqlite import LOG_BYTES, SqliteStore
from controlplane.stores.transaction import Writes
from tests.extent import either
from tests.fakes.seeds import NOW, TENANT, a_ticket

ROUNDS = either(5, 500)
WRITER = "tests.contract.store.writer_process"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "swarm.db"


async def opened(path: Path, clock: Callable[[], float] | None = None) -> SqliteStore:
    store = SqliteStore(path, LocalBus(), clock=clock)
    await store.open()
    return store


async def refusal(path: Path) -> str:
    with pytest.raises(StartError) as error:
        await opened(path)
    assert "\n" not in error.value.message
    return error.value.message


async def test_everything_is_there_after_a_restart(path: Path) -> None:
    store = await opened(path)
    await store.write(lambda tx: tx.add_tickets([a_ticket(number) for number in range(1, 4)]))
    _, token = await store.read(lambda reader: reader.tickets(TENANT, TicketFilter(), Page(2)))
    await store.close()
    again = await opened(path)
    assert len(await again.read(lambda reader: reader.live_tickets())) == 3
    # A client may go on with a page token that it got before.
    found, _ = await again.read(lambda reader: reader.tickets(TENANT, TicketFilter(), Page(2, token)))
    assert [one.key for one in found] == ["TKT-003"]
    await again.close()


async def test_a_killed_writer_loses_nothing_that_it_acknowledged(path: Path, root: Path) -> None:
    for number in range(ROUNDS):
        database = path.with_name(f"{number}.db")
        acknowledged = await killed(database, root, after_s=0.15 + 0.1 * (number % 5))
        store = await opened(database)  # which checks the integrity
        events = await store.read(lambda reader: reader.events("all", 0, 1_000_000))
        tickets = await store.read(lambda reader: reader.live_tickets())
        await store.close()
        assert acknowledged <= {event.data["number"] for event in events}
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert len(tickets) == len(events)
        assert acknowledged


async def test_a_writer_that_stands_still_at_any_moment_goes_on(path: Path, root: Path) -> None:
    """Stopped in the middle of commits and checkpoints: readers see whole groups meanwhile, and nothing is lost."""
    process = await writer(path, root)
    assert process.stdout
    acknowledged = {int(await process.stdout.readline())}
    for _ in range(either(8, 100)):
        await asyncio.sleep(0.02)
        process.send_signal(signal.SIGSTOP)
        reading = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        tickets, events = reading.execute("SELECT (SELECT count(*) FROM ticket), (SELECT count(*) FROM event)").get
        reading.close()
        assert tickets == events
        process.send_signal(signal.SIGCONT)
        acknowledged.add(int(await process.stdout.readline()))
    process.kill()
    rest = await process.stdout.read()
    await process.wait()
    acknowledged |= {int(line) for line in rest.split(b"\n")[:-1]}
    store = await opened(path)
    found = {event.data["number"] for event in await store.read(lambda reader: reader.events("all", 0, 1_000_000))}
    await store.close()
    assert acknowledged <= found


def size(path: str) -> int:
    return Path(path).stat().st_size


async def test_the_log_is_cut_back_after_a_long_read(path: Path) -> None:
    """A reader holds the log open while much is written, as a backup does; afterwards it is small again."""
    store = await opened(path)
    reading = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM ticket").get  # noqa: B018 - pins the snapshot
    for number in range(30):
        await store.write(lambda tx, number=number: tx.add_tickets([a_ticket(number, description="x" * 1_000_000)]))  # type: ignore[misc]
    assert size(f"{path}-wal") > LOG_BYTES
    reading.close()
    for number in range(30, 33):
        await store.write(lambda tx, number=number: tx.add_tickets([a_ticket(number)]))  # type: ignore[misc]
    assert size(f"{path}-wal") <= LOG_BYTES
    await store.close()


async def test_the_log_is_folded_in_beside_the_commits(path: Path) -> None:
    """Long before a commit would have to do it itself."""
    store = await opened(path)
    for number in range(8):
        await store.write(lambda tx, number=number: tx.add_tickets([a_ticket(number, description="x" * 1_000_000)]))  # type: ignore[misc]
    assert size(f"{path}-wal") < LOG_BYTES
    async with asyncio.timeout(60):
        while size(str(path)) < 5_000_000:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    await store.close()


async def writer(path: Path, root: Path, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        WRITER,
        str(path),
        cwd=root,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize(("point", "kept"), [("store_before_commit", 0), ("store_after_commit", 1)])
async def test_a_group_is_there_as_a_whole_or_not_at_all(path: Path, root: Path, point: str, kept: int) -> None:
    await (await opened(path)).close()
    process = await writer(path, root, SWARM_FAILPOINT=f"{point}=kill")
    out, _ = await process.communicate()
    assert (process.returncode, out) == (-signal.SIGKILL, b"")
    store = await opened(path)
    events = await store.read(lambda reader: reader.events("all", 0, 100))
    tickets = await store.read(lambda reader: reader.live_tickets())
    await store.close()
    assert len(events) == len(tickets)
    assert bool(events) == bool(kept)


async def killed(path: Path, root: Path, after_s: float) -> set[int]:
    """Numbers that a writer acknowledged before it was killed, mid-load."""
    process = await writer(path, root)
    assert process.stdout
    first = await process.stdout.readline()
    await asyncio.sleep(after_s)
    process.kill()
    rest = await process.stdout.read()
    await process.wait()
    # The last line may be cut short.
    return {int(line) for line in (first + rest).split(b"\n")[:-1]}


def contents(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def scribbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:12288] = b"\x5a" * 8192
    path.write_bytes(content)


def garbage(path: Path) -> None:
    path.write_bytes(b"these are not the rows you are looking for" * 200)


@pytest.mark.parametrize("damage", [truncated, scribbled, garbage])
async def test_a_damaged_file_is_refused(path: Path, damage: Callable[[Path], None]) -> None:
    store = await opened(path)
    await store.write(lambda tx: tx.add_tickets([a_ticket(number) for number in range(200)]))
    await store.close()
    damage(path)
    message = await refusal(path)
    assert str(path) in message
    assert "restore a backup" in message


async def test_a_refused_file_is_left_as_it_was(path: Path) -> None:
    garbage(path)
    before = contents(path.parent)
    await refusal(path)
    assert contents(path.parent) == {**before, "swarm.db.lock": b""}


async def test_a_database_of_another_program_is_refused(path: Path) -> None:
    foreign = apsw.Connection(str(path))
    foreign.execute("CREATE TABLE ticket (id)")
    foreign.close()
    assert "another program" in await refusal(path)


async def test_a_newer_schema_is_refused(path: Path) -> None:
    await (await opened(path)).close()
    later = apsw.Connection(str(path))
    later.execute("INSERT INTO schema_migration (name, applied) VALUES ('0999_later', '2030-01-01 00:00:00')")
    later.close()
    message = await refusal(path)
    assert "newer version" in message
    assert "0999_later" in message


async def test_a_second_control_plane_is_refused_until_the_first_is_gone(path: Path) -> None:
    store = await opened(path)
    assert "in use" in await refusal(path)
    await store.close()
    await (await opened(path)).close()


@pytest.mark.parametrize("name", ["missing/swarm.db", "."])
async def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path, name: str) -> None:
    assert "cannot be opened" in await refusal(tmp_path / name)


async def test_a_full_disk_fails_the_write_and_not_the_store(path: Path) -> None:
    store = await opened(path)
    await store.write(lambda tx: tx.add_tickets([a_ticket(1)]))
    await limit(store, pages=1)
    with pytest.raises(DiskFull) as error:
        await store.write(lambda tx: tx.add_tickets([a_ticket(2, description="x" * 10_000_000)]))
    assert (error.value.code, error.value.reason) == ("RESOURCE_EXHAUSTED", "disk_full")
    assert error.value.retry_after_s
    await limit(store, pages=1_000_000)
    await store.write(lambda tx: tx.add_tickets([a_ticket(3)]))
    assert [one.id for one in await store.read(lambda reader: reader.live_tickets())] == ["tk_1", "tk_3"]
    await store.close()


async def limit(store: SqliteStore, pages: int) -> None:
    """Bound the file's size: the library then answers as if the disk were full."""
    await store.write(lambda tx: cast("Writes", tx).session.rows(f"PRAGMA max_page_count={pages}"))


async def test_the_file_is_for_its_owner_only(path: Path) -> None:
    store = await opened(path)
    await store.write(lambda tx: tx.add_tickets([a_ticket(1)]))
    modes = {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir()}
    await store.close()
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("away_s", [5.0, 3600.0, -3600.0], ids=["a while", "set forth", "set back"])
async def test_leases_and_waits_are_as_long_after_a_start_as_when_last_written(path: Path, away_s: float) -> None:
    """However long nobody ran by the wall clock, which may have been set meanwhile; and however often it starts."""
    leased = replace(a_ticket(1), state=TicketState.RUNNING, host_id="hs_1", fence=1, lease_expires_at=NOW + 45)
    waiting, over = replace(a_ticket(2), not_before=NOW + 30), replace(a_ticket(3), not_before=NOW - 1)
    store = await opened(path, lambda: NOW)
    await store.write(lambda tx: tx.add_tickets([leased, waiting, over]))
    await store.write(lambda tx: tx.add_events([NewEvent(TICKETS_TOPIC, "ticket.running", {})], NOW))
    await store.close()
    for start in (NOW + away_s, NOW + 2 * away_s):
        store = await opened(path, partial(float, start))
        found = await store.read(lambda reader: reader.tickets_by_id([leased.id, waiting.id, over.id]))
        now = store.now()
        await store.close()
        first, second, third = sorted(found, key=lambda each: each.id)
        assert (first.lease_expires_at, second.not_before) == (now + 45, now + 30)
        assert third.not_before == NOW - 1
