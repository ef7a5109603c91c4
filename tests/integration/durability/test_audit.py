"""The audit log against whoever can write to the database file, and has no key."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from controlplane.audit import keys
from controlplane.audit.heads import all_in, append, last_in
from controlplane.audit.trail import FILE, Trail
from controlplane.backup.archivist import Archivist
from controlplane.backup.restore import restore
from controlplane.domain.audit import AuditHead, Inspection, Seals
from controlplane.errors import StartError, SwarmError
from controlplane.events.bus import LocalBus
from controlplane.ports import Tx
from controlplane.secret import Secrets
from controlplane.stores.sqlite import SqliteStore

ROWS = 20
NEW = "a second key of the audit log and given from outside"
FORGED = "a key that the forger has made up for it"


@contextlib.asynccontextmanager
async def running(
    home: Path, given: str = "", *more: Path
) -> AsyncIterator[tuple[SqliteStore, Trail, Secrets, dict[str, str]]]:
    environment = {"SWARM_AUDIT_KEY": given}
    secrets = Secrets(environment)
    secrets.load()
    store = SqliteStore(home / "controlplane.db", LocalBus(), seals=keys.seals(secrets, home))
    await store.open()
    trail = Trail(store, lambda: keys.seals(secrets, home), [home / FILE, *more], every_s=3600)
    try:
        await trail.start()
        yield store, trail, secrets, environment
    finally:
        await trail.stop()
        await store.close()


async def act(store: SqliteStore, count: int = ROWS, who: str = "alice") -> None:
    for _ in range(count):
        await store.write(lambda tx: tx.add_audit("vm.boot", who, "rq_1", {"id": "vm"}, 1.0))


async def verdict(home: Path, *heads: AuditHead) -> Inspection:
    async with running(home) as (_, trail, _secrets, _environment):
        return await trail.inspect(heads)


def alter(home: Path, *statements: str) -> None:
    connection = apsw.Connection(str(home / "controlplane.db"))
    for statement in statements:
        connection.execute(statement)
    connection.close()


def swapped() -> list[str]:
    return [
        "UPDATE audit SET seq = -7 WHERE seq = 7",
        "UPDATE audit SET seq = 7 WHERE seq = 9",
        "UPDATE audit SET seq = 9 WHERE seq = -7",
    ]


@pytest.mark.parametrize(
    ("statements", "first_bad"),
    [
        (["UPDATE audit SET principal = 'mallory' WHERE seq = 5"], 5),
        (['UPDATE audit SET data = \'{"id":"other"}\' WHERE seq = 20'], 20),
        (["DELETE FROM audit WHERE seq = 6"], 6),
        (["DELETE FROM audit WHERE seq = 6", "UPDATE audit SET seq = seq - 1 WHERE seq > 6"], 6),
        (["DELETE FROM audit WHERE seq = 1"], 1),
        (["DELETE FROM audit WHERE seq > 15"], 16),
        (["DELETE FROM audit"], 1),
        (swapped(), 7),
        (["UPDATE audit SET mac = ''"], 1),
        (["UPDATE audit SET key = '', mac = '' WHERE seq > 3"], 4),
    ],
)
async def test_the_first_row_that_is_not_what_was_written_is_named(
    tmp_path: Path, statements: list[str], first_bad: int
) -> None:
    async with running(tmp_path) as (store, trail, _, _e):
        await act(store)
        assert (await trail.inspect()).broken is None
    alter(tmp_path, *statements)
    found = await verdict(tmp_path)
    assert found.broken is not None
    assert found.broken.seq == first_bad


async def test_a_chain_that_was_rewritten_with_another_key_is_bad_from_its_first_row(tmp_path: Path) -> None:
    async with running(tmp_path) as (store, _, _s, _e):
        await act(store)
    forger = SqliteStore(tmp_path / "controlplane.db", LocalBus(), seals=Seals.of([FORGED]))
    alter(tmp_path, "UPDATE audit SET principal = 'bob', key = '', mac = ''")
    await forger.open()
    assert await forger.write(lambda tx: tx.seal_audit()) == ROWS
    await forger.close()
    with pytest.raises(StartError, match="sealed with key"):
        await verdict(tmp_path)
    known = keys.seals(Secrets({}), tmp_path).current
    alter(tmp_path, f"UPDATE audit SET key = '{known}'")  # noqa: S608 - a hash
    found = await verdict(tmp_path)
    assert found.broken is not None
    assert found.broken.seq == 1


async def test_an_end_that_was_cut_and_grew_again_is_caught_by_a_head_kept_elsewhere(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    async with running(home, "", elsewhere) as (store, _, _s, _e):
        await act(store)
    head = all_in(elsewhere)[-1]
    assert head.seq == ROWS
    alter(home, "DELETE FROM audit WHERE seq > 15")
    (home / FILE).unlink()  # whoever has the whole state directory
    async with running(home) as (store, trail, _s, _e):
        await act(store, who="bob")
        assert (await trail.inspect()).broken is None
        found = await trail.inspect([head])
        assert found.broken is not None
        assert found.broken.seq <= 16


async def test_rows_of_acts_that_were_undone_leave_no_hole(tmp_path: Path) -> None:
    def undone(tx: Tx) -> None:
        tx.add_audit("vm.boot", "alice", "rq_1", {}, 1.0)
        raise SwarmError("no")

    async with running(tmp_path) as (store, trail, _, _e):
        await act(store, 2)
        with pytest.raises(SwarmError):
            await store.write(undone)
        await act(store, 2)
        found = await trail.inspect()
        assert (found.broken, found.rows) == (None, 4)


async def test_older_rows_are_sealed_once_and_never_again(tmp_path: Path) -> None:
    async with running(tmp_path) as (store, _, _s, _e):
        await act(store)
    strip = "UPDATE audit SET key = '', mac = ''"
    alter(tmp_path, strip)
    (tmp_path / FILE).unlink()  # as before the first start that knows of seals
    assert (await verdict(tmp_path)).broken is None
    alter(tmp_path, strip)
    found = await verdict(tmp_path)
    assert found.broken is not None
    assert found.broken.seq == 1


async def test_a_new_key_is_marked_and_the_old_one_must_stay(tmp_path: Path) -> None:
    async with running(tmp_path) as (store, trail, secrets, environment):
        secrets.on_change(lambda _: trail.renew())
        await act(store, 3)
        environment["SWARM_AUDIT_KEY"] = NEW
        secrets.reload()
        await act(store, 3)
        rows = await store.read(lambda reader: reader.audit(0, 100))
        assert [row.action for row in rows] == [*["vm.boot"] * 3, "audit.key", *["vm.boot"] * 3]
        assert len({row.key for row in rows[:4]}) == len({row.key for row in rows[4:]}) == 1
        assert rows[3].data["key"] == rows[4].key != rows[3].key
        assert (await trail.inspect()).broken is None
        environment["SWARM_AUDIT_KEY"] = "another one altogether that comes without the old"
        secrets.reload()
        await act(store, 1)
        assert (await trail.inspect()).broken is None
    with pytest.raises(StartError, match="sealed with key"):
        await verdict(tmp_path)


async def test_a_restored_backup_is_sound_up_to_its_end_and_one_row_behind(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "b.tar"
    home.mkdir()
    (home / "hosts").mkdir()
    async with running(home) as (store, _, _s, _e):
        await act(store)
        file.write_bytes(b"".join([piece.data async for piece in Archivist(home, "1").pieces()]))
        await act(store, 5)
    restore(file, home, lambda *_: None, force=True)
    async with running(home) as (store, trail, _, _e):
        await act(store, 2)
        found = await trail.inspect()
        assert (found.broken, found.rows) == (None, ROWS + 3)
        rows = await store.read(lambda reader: reader.audit(ROWS, 1))
        assert rows[0].action == "backup.restore"


async def test_without_the_old_key_a_restore_goes_on_and_says_which_key_is_missing(tmp_path: Path) -> None:
    home, file, new = tmp_path / "home", tmp_path / "b.tar", tmp_path / "new"
    (home / "hosts").mkdir(parents=True)
    async with running(home) as (store, _, _s, _e):
        await act(store)
        file.write_bytes(b"".join([piece.data async for piece in Archivist(home, "1").pieces()]))
    restore(file, new, lambda *_: None, force=False)
    found = await verdict(new)
    assert found.broken is not None
    assert "not known" in found.broken.reason
    both = (home / "audit.key").read_text() + (new / "audit.key").read_text()
    (new / "audit.key").write_text(both)
    assert (await verdict(new)).broken is None


def test_heads_survive_a_line_that_was_cut_off(tmp_path: Path) -> None:
    file = tmp_path / FILE
    append(file, AuditHead(1, "a"), 1.0)
    with file.open("a") as out:
        out.write('{"time": "2026-')
    append(file, AuditHead(2, "b"), 2.0)
    assert all_in(file) == [AuditHead(1, "a"), AuditHead(2, "b")]
    assert last_in(file) == AuditHead(2, "b")
    assert json.loads(file.read_text().splitlines()[-1])["seq"] == 2


@pytest.mark.parametrize("content", ["hello\n", "[]\n", '{"seq": 1}\n'])
def test_a_file_of_something_else_is_no_list_of_heads(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(StartError, match="no heads"):
        all_in(tmp_path / FILE)
