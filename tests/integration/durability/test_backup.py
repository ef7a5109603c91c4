"""I19: a backup made under load is whole; what is restored from it goes on under a new epoch."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from controlplane.backup.archive import unpacked
from controlplane.backup.database import examined
from controlplane.backup.restore import restore, verify
from controlplane.domain.epoch import FENCES, NUMBERS
from controlplane.errors import StartError
from swarm_sdk import Client, PermissionDeniedError, SwarmError, TicketSpec, UnauthenticatedError
from swarm_sdk.types import name_of
from tests.e2e.harness.tickets import data
from tests.fakes import host as fake
from tests.fakes.control import control_plane
from tests.fakes.host import FakeHost

ROOT = Path(__file__).parents[3]


def untold(_fraction: float, _step: str) -> None:
    """Nobody watches."""


async def save(client: Client, file: Path) -> dict[str, int]:
    """Rows by table of a backup that was just made."""
    answers = [answer async for answer in client.coordinator.backup(file)]
    assert [answer.step for answer in answers if answer.step][-1] == "done"
    assert not any(answer.data for answer in answers)
    return dict(answers[-1].manifest.rows)


def names(folder: Path, pattern: str = "*") -> list[str]:
    return sorted(each.name for each in folder.glob(pattern))


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files but the lock, which says who held it last."""
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file() and each.suffix != ".lock"}


def epoch_of(state: Path) -> int:
    connection = apsw.Connection(str(state / "controlplane.db"))
    try:
        return int(connection.execute("SELECT value FROM setting WHERE name = 'epoch'").get)
    finally:
        connection.close()


async def test_a_backup_under_load_holds_all_that_was_answered_before_it(home: Path, tmp_path: Path) -> None:
    file, answered = tmp_path / "b.tar", []
    async with control_plane(home) as control, control.client() as client:

        async def write(writer: int) -> None:
            for number in range(10_000):
                made = await client.tickets.create(TicketSpec(title=f"{writer}.{number}"), hold=True)
                answered.append(made.id)

        writers = [asyncio.create_task(write(writer)) for writer in range(8)]
        while len(answered) < 100:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        before = set(answered)
        rows = await save(client, file)
        after = len(answered)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        assert file.stat().st_mode & 0o777 == 0o600
        assert names(tmp_path) == ["b.tar"]
        assert not names(home, ".backup-*")
    assert after > len(before), "nothing was written meanwhile"
    assert rows["ticket"] >= len(before)
    result = restore(file, tmp_path / "new", untold, force=False)
    assert result.leases == 0
    async with control_plane(tmp_path / "new") as control, control.client() as client:
        found = {each.id for each in await client.tickets.list()}
        assert before <= found
        assert len(found) == rows["ticket"]


async def test_what_was_running_runs_again_and_old_hosts_are_told(home: Path, tmp_path: Path) -> None:
    """The host goes on under its boot id, with an attempt and messages of the time line that was lost."""
    file = tmp_path / "b.tar"
    async with control_plane(home) as control, control.client() as client:
        host = control.host()
        await host.attach()
        made = await client.tickets.create(TicketSpec(title="x"))
        first = await host.assignment()
        await host.deliver(fake.running(first.attempt))
        await save(client, file)
        # After the backup: messages, another ticket, another attempt. All of this will never have been.
        await host.deliver(fake.logged(first.attempt, "lost"))
        lost = await client.tickets.create(TicketSpec(title="never was"))
        never = await host.assignment(2)
        await host.deliver(fake.running(never.attempt))
        events = await client.tickets.events(made.id, limit=1000)
        old_token = control.token()
        await host.detach()
    result = restore(file, home, untold, force=True)
    assert result.leases == 1
    assert Path(result.kept).name in names(home)
    async with control_plane(home) as control, control.client() as client:
        attempts = await client.tickets.attempts(made.id)
        assert [(name_of(each, "state"), each.cause) for each in attempts] == [("lost", "restored")]
        assert (await client.coordinator.status()).epoch == result.epoch
        host.keep(fake.finished(never.attempt))
        await host.attach()
        revoked = {event.revoke.attempt.attempt_id for event in await host.expect("revoke", 2)}
        assert revoked == {first.attempt.attempt_id, never.attempt.attempt_id}
        host.attempts.clear()
        again = await host.assignment(3)
        assert again.attempt.ticket_id == made.id
        assert again.attempt.fence > max(first.attempt.fence, result.epoch * FENCES)
        await host.run(again, head="")
        done = await client.tickets.wait(made.id, timeout_s=10)
        assert name_of(done, "state") == "completed"
        assert list(done.causes) == ["restored"], "nobody's fault: it ran again at once"
        # Cursors of clients from the lost time line see all that is new.
        new = await client.tickets.events(made.id, cursor=events[-1].seq, limit=1000)
        assert "completed" in {data(event).get("to") for event in new}
        other = await client.tickets.create(TicketSpec(title="y"), hold=True)
        assert other.key != lost.key
        assert int(other.key.removeprefix("TKT-")) > result.epoch * NUMBERS
        with pytest.raises((UnauthenticatedError, PermissionDeniedError)):
            async with Client(f"unix:{control.socket}", old_token, retries=0) as stranger:
                await stranger.tickets.list()
        await host.detach()
        await host.channel.close()


async def test_a_host_is_known_elsewhere_by_the_token_that_it_has(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    async with control_plane(home) as control, control.client() as client:
        token = control.token("other")
        await save(client, file)
    assert token.encode() not in file.read_bytes()
    restore(file, tmp_path / "new", untold, force=False)
    async with control_plane(tmp_path / "new", hosts=()) as control, FakeHost(control.socket, token, "other"):
        assert not (tmp_path / "new/hosts/other.token").exists()


async def test_an_answer_from_before_the_restore_is_not_given_again(home: Path, tmp_path: Path) -> None:
    async with control_plane(home) as control, control.client() as client:
        made = await client.tickets.create(TicketSpec(title="x"), hold=True, key="k")
        await save(client, tmp_path / "b.tar")
    restore(tmp_path / "b.tar", home, untold, force=True)
    async with control_plane(home) as control, control.client() as client:
        assert (await client.tickets.create(TicketSpec(title="x"), hold=True, key="k")).id != made.id


async def test_a_pull_request_that_was_to_be_opened_still_is(home: Path, tmp_path: Path) -> None:
    """Its effect carries the fence of the attempt that was accepted, which a restore leaves as it is."""
    async with control_plane(home) as control, control.client() as client, control.host() as host:
        made = await client.tickets.create(TicketSpec(title="x"))
        await host.run(await host.assignment())
        await client.tickets.wait(made.id, until=[7, 8], timeout_s=10)  # type: ignore[list-item]
        await save(client, tmp_path / "b.tar")
        fence = (await client.tickets.get(made.id)).fence
    restore(tmp_path / "b.tar", home, untold, force=True)
    async with control_plane(home) as control, control.client() as client:
        assert (await client.tickets.get(made.id)).fence == fence


async def test_each_restore_is_an_epoch_of_its_own(home: Path, tmp_path: Path) -> None:
    async with control_plane(home) as control, control.client() as client:
        await save(client, tmp_path / "b.tar")
    epochs = [restore(tmp_path / "b.tar", home, untold, force=True).epoch for _ in range(3)]
    assert epochs == [epochs[0], epochs[0] + 1, epochs[0] + 2]
    assert epoch_of(home) == epochs[-1]


async def backup(home: Path, file: Path) -> None:
    async with control_plane(home) as control, control.client() as client:
        await client.tickets.create_all([TicketSpec(title=f"t{number}") for number in range(50)], hold=True)
        await save(client, file)


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def empty(content: bytes) -> bytes:
    return b""


def garbage(content: bytes) -> bytes:
    return b"no archive at all " * 5000


def rewritten(change: Callable[[str, bytes], tuple[str, bytes]]) -> Callable[[bytes], bytes]:
    """The archive with its members changed."""

    def damage(content: bytes) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(content)) as old, tarfile.open(fileobj=out, mode="w") as new:
            for member in old:
                found = old.extractfile(member)
                assert found is not None
                member.name, body = change(member.name, found.read())
                member.size = len(body)
                new.addfile(member, io.BytesIO(body))
        return out.getvalue()

    return damage


def manifest(**fields: object) -> Callable[[str, bytes], tuple[str, bytes]]:
    def change(name: str, body: bytes) -> tuple[str, bytes]:
        return name, json.dumps({**json.loads(body), **fields}).encode() if name == "manifest.json" else body

    return change


DAMAGE = {
    "truncated": truncated,
    "flipped": flipped,
    "empty": empty,
    "garbage": garbage,
    "format": rewritten(manifest(format=2)),
    "path": rewritten(manifest(files=[{"name": "../x", "size": 1, "sha256": "0" * 64}])),
    "rows": rewritten(manifest(rows={"ticket": 7})),
    "types": rewritten(manifest(epoch="many")),
    "renamed": rewritten(lambda name, body: (name.replace(".db", ".other"), body)),
    "no manifest": rewritten(lambda name, body: (name.replace("manifest", "other"), body)),
}


async def test_a_damaged_backup_is_refused_and_nothing_changes(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    await backup(home, file)
    (tmp_path / "out").mkdir()
    assert verify(file, tmp_path / "out", untold).rows["ticket"] == 50
    before = contents(home)
    for name, damage in DAMAGE.items():
        bad = tmp_path / "bad.tar"
        bad.write_bytes(damage(file.read_bytes()))
        with pytest.raises(StartError) as refused:
            restore(bad, home, untold, force=True)
        assert "\n" not in refused.value.message, name
        assert contents(home) == before, name
    with pytest.raises(StartError, match="there is no file"):
        restore(tmp_path / "nowhere.tar", home, untold, force=True)


async def test_a_backup_of_a_newer_version_is_refused(home: Path, tmp_path: Path) -> None:
    async with control_plane(home):
        pass
    later = apsw.Connection(str(home / "controlplane.db"))
    later.execute("INSERT INTO schema_migration (name, applied) VALUES ('0999_later', '2030-01-01 00:00:00')")
    later.close()
    with pytest.raises(StartError, match="newer version"):
        examined(home / "controlplane.db")


def program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "controlplane", *arguments]
    env = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)


async def test_a_restore_over_a_running_control_plane_is_refused(home: Path, tmp_path: Path) -> None:
    async with control_plane(home) as control, control.client() as client:
        await save(client, tmp_path / "b.tar")
        done = await asyncio.to_thread(program, "restore", str(tmp_path / "b.tar"), "--state-dir", str(home), "--force")
        assert done.returncode == 2
        assert "in use by the control plane with pid" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert await client.tickets.list() == []


@pytest.mark.parametrize("point", ["restore_before_swap", "restore_before_rename"])
async def test_a_killed_restore_is_all_or_nothing(home: Path, tmp_path: Path, point: str) -> None:
    """Killed before it changes anything, the old database is there; later, no start takes half of it for whole."""
    file = tmp_path / "b.tar"
    await backup(home, file)
    async with control_plane(home) as control, control.client() as client:
        await client.tickets.create(TicketSpec(title="after the backup"), hold=True)
    arguments = ("restore", str(file), "--state-dir", str(home), "--force")
    assert program(*arguments, SWARM_FAILPOINT=f"{point}=kill").returncode == -signal.SIGKILL
    if point == "restore_before_swap":
        async with control_plane(home) as control, control.client() as client:
            assert len(await client.tickets.list()) == 51
    else:
        refused = program("--state-dir", str(home))
        assert refused.returncode == 2
        assert "run it again" in refused.stderr
    assert program(*arguments).returncode == 0
    assert not names(home, ".restore-*")
    async with control_plane(home) as control, control.client() as client:
        assert len(await client.tickets.list()) == 50


async def test_a_control_plane_killed_while_it_copies_leaves_nothing(home: Path, tmp_path: Path) -> None:
    async with control_plane(home):
        pass
    command = [sys.executable, "-m", "controlplane", "--state-dir", str(home)]
    env = {"PATH": os.environ["PATH"], "SWARM_FAILPOINT": "backup_copied=kill"}
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=env, stderr=asyncio.subprocess.DEVNULL)
    async with Client.open(home, retries=0) as client:
        assert await client.ready(20)
        with pytest.raises(SwarmError):
            await save(client, tmp_path / "b.tar")
    assert await process.wait() == -signal.SIGKILL
    assert names(tmp_path) == []
    async with control_plane(home) as control, control.client() as client:
        assert not names(home, ".backup-*")
        assert (await save(client, tmp_path / "b.tar"))["ticket"] == 0


async def test_a_backup_that_nobody_reads_any_more_leaves_nothing(home: Path, tmp_path: Path) -> None:
    async with control_plane(home) as control, control.client() as client:
        answers = client.coordinator.backup(tmp_path / "b.tar")
        await anext(answers)
        await answers.aclose()
        assert names(tmp_path) == []
        assert (await save(client, tmp_path / "b.tar"))["ticket"] == 0
        assert not names(home, ".backup-*")


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no whole archive"):
        unpacked(Path(__file__), tmp_path, lambda _: None)


async def test_a_host_gets_no_backup(home: Path, tmp_path: Path) -> None:
    async with control_plane(home) as control:
        stranger = Client(f"unix:{control.socket}", control.token("local"), retries=0)
        with pytest.raises(PermissionDeniedError):
            await save(stranger, tmp_path / "b.tar")
        await stranger.close()
