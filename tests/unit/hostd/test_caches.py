"""Least recently used first, and nothing that anybody needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hostd import caches
from hostd.caches import FRESH_S, GONE, Entry, choose, evict

NOW = 1_000_000.0
OLD = NOW - 2 * FRESH_S


def entries(*ages: float) -> list[Entry]:
    return [Entry(Path(f"/{age}"), 10, NOW - age) for age in ages]


@pytest.mark.parametrize(
    ("budget", "in_use", "gone"),
    [
        (40, set(), []),
        (39, set(), ["/9000"]),
        (20, set(), ["/9000", "/8000"]),
        (20, {Path("/9000")}, ["/8000", "/7000"]),
        (0, set(), ["/9000", "/8000", "/7000"]),  # the last one was used within the hour
    ],
)
def test_what_was_used_last_stays(budget: int, in_use: set[Path], gone: list[str]) -> None:
    assert [str(entry.path) for entry in choose(entries(10, 7000, 9000, 8000), budget, in_use, NOW)] == gone


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Four entries of a MiB, the first one oldest; all long out of use."""
    for number in range(4):
        folder = tmp_path / f"e{number}"
        folder.mkdir()
        (folder / "data").write_bytes(b"x" * (1 << 20))
        os.utime(folder, (number + 1, number + 1))
    return tmp_path


def test_an_entry_goes_whole_and_what_is_in_use_is_marked_as_used(cache: Path) -> None:
    done = evict(sorted(cache.iterdir()), 2, {cache / "e0"})
    assert sorted(path.name for path in cache.iterdir()) == ["e0", "e3"]
    assert (len(done.entries), done.freed_bytes >> 20, done.too_large) == (2, 2, "")
    assert (cache / "e0").stat().st_mtime > FRESH_S
    crowded = evict(sorted(cache.iterdir()), 1, {cache / "e0", cache / "e3"})
    assert (crowded.entries, crowded.details) == ((), ("a cache is 1 MiB over its budget; all in it is in use",))


def test_no_budget_is_no_bound(cache: Path) -> None:
    assert evict(sorted(cache.iterdir()), 0, ()) == caches.Evicted()
    assert len(list(cache.iterdir())) == 4


def test_an_entry_that_was_used_after_it_was_chosen_stays(cache: Path) -> None:
    entry = caches.entry_of(cache / "e1")
    caches.touch(cache / "e1")
    assert not caches.remove(entry)
    assert (cache / "e1" / "data").exists()
    assert not [path for path in cache.iterdir() if path.name.startswith(GONE)]


def test_what_has_other_names_counts_in_part(cache: Path) -> None:
    alone = caches.size_of(cache / "e0")
    os.link(cache / "e0" / "data", cache / "e1" / "link")
    assert caches.size_of(cache / "e0") == alone // 2
