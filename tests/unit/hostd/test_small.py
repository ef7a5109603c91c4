"""Failpoints, logs, ids, backoff, the state directory."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hostd import failpoint, ids
from hostd.errors import ConfigError, StateDirBusyError
from hostd.link.client import Backoff
from hostd.statedir import StateDir, write_atomic


async def test_failpoints_act_only_when_armed() -> None:
    failpoint.arm("a=error, b=delay:1")
    with pytest.raises(failpoint.FailpointError):
        await failpoint.failpoint("a")
    await failpoint.failpoint("b")
    failpoint.arm("")
    await failpoint.failpoint("a")


def test_every_malformed_failpoint_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        failpoint.arm("a=explode,b,=kill,c=delay:soon,d=kill")
    assert len(caught.value.faults) == 4
    failpoint.arm("")


def test_ids_sort_by_age_and_are_unique() -> None:
    made = [ids.new("vm") for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(len(ident) == 29 and ident.startswith("vm_") for ident in made)
    assert sorted(ident[:13] for ident in made) == [ident[:13] for ident in made]


def test_backoff_grows_to_its_cap_is_spread_and_starts_over() -> None:
    backoff = Backoff(0.2, 10.0, random.Random(1))
    delays = [backoff.next() for _ in range(12)]
    assert delays[0] <= 0.2
    assert all(0 <= delay <= 10.0 for delay in delays)
    assert max(delays[6:]) > 2.5
    assert len(set(delays)) == len(delays)
    backoff.reset()
    assert backoff.next() <= 0.2


def test_a_large_fleet_comes_back_spread_over_the_time_that_it_was_told() -> None:
    hosts = [Backoff(rng=random.Random(seed)) for seed in range(1000)]
    for host in hosts:
        host.reset(5.0)
    delays = sorted(host.next() for host in hosts)
    tenths = [sum(start <= delay < start + 0.5 for delay in delays) for start in (0.5 * n for n in range(10))]
    assert all(60 < count < 140 for count in tenths)
    hosts[0].reset(0.005)
    assert hosts[0].next() <= 0.2


def test_backoff_keeps_within_a_short_lease() -> None:
    backoff = Backoff(0.2, 10.0, random.Random(1))
    backoff.limit(1.3)
    assert max(backoff.next() for _ in range(20)) <= 1.3
    backoff.limit(60.0)
    assert max(backoff.next() for _ in range(20)) <= 10.0


def test_a_state_directory_has_one_owner_until_it_is_closed(tmp_path: Path) -> None:
    first, second = StateDir(tmp_path / "s"), StateDir(tmp_path / "s")
    first.open()
    with pytest.raises(StateDirBusyError, match="in use by hostd with pid"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_a_state_directory_that_cannot_be_made_is_one_clear_end() -> None:
    with pytest.raises(ConfigError, match="Not a directory"):
        StateDir(Path("/dev/null/x")).open()


def test_a_state_directory_that_all_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigError, match="choose another"):
        StateDir(tmp_path).open()
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_atomic(path, b"one")
    write_atomic(path, b"two", sync=True)
    with pytest.raises(TypeError):
        write_atomic(path, None)  # type: ignore[arg-type]
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]
