"""Mirrors are packed, and go when nobody has used them for long."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hostd.git import upkeep
from hostd.git.repositories import GitRepositories
from tests.fakes.brokerage import BROKER, COURIER, SHARED, make_upstream

IDENTITY = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@pytest.fixture
async def repositories(tmp_path: Path) -> GitRepositories:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    made = GitRepositories(tmp_path / "git", uid=COURIER, gid=SHARED, broker_uid=BROKER, budget_mib=1)
    await made.open()
    return made


def mirrors(root: Path) -> list[Path]:
    return sorted((root / "git" / "mirrors").iterdir())


async def test_mirrors_beyond_the_budget_go_unless_an_attempt_uses_them(
    tmp_path: Path, repositories: GitRepositories
) -> None:
    noise = os.urandom(1 << 20).hex()
    for name in ("used", "idle"):
        make_upstream(tmp_path / name, {"noise.txt": noise})
        await repositories.prepare(f"at_{name}", str(tmp_path / name), "main", [], "")
    await repositories.discard("at_idle")
    (tmp_path / "git" / "staging" / "at_lost.git").mkdir()
    for mirror in mirrors(tmp_path):
        os.utime(mirror, (1, 1))
    counts = await repositories.cleanup(["at_used"])
    assert (counts.cached, counts.files) == (1, 1)
    assert counts.freed_bytes > 1 << 20
    (left,) = mirrors(tmp_path)
    used = repositories._of_attempt["at_used"]
    assert left == used.path
    assert [path.name for path in (tmp_path / "git" / "staging").iterdir()] == ["at_used.git"]
    assert (await used.git("cat-file", "-p", "main:noise.txt")).decode() == noise
    again = await repositories.prepare("at_again", str(tmp_path / "idle"), "main", [], "")
    assert again.base
    assert len(mirrors(tmp_path)) == 2


async def test_a_crowded_mirror_is_packed_and_keeps_what_has_no_ref_yet(
    tmp_path: Path, repositories: GitRepositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_upstream(tmp_path / "up")
    prepared = await repositories.prepare("at_1", str(tmp_path / "up"), "main", [], "")
    mirror = repositories._of_attempt["at_1"]
    base = await mirror.git("commit-tree", f"{prepared.base}^{{tree}}", "-m", "merged base", env=IDENTITY)
    monkeypatch.setattr(upkeep, "MOST_LOOSE", -1)
    assert await repositories.pack() == ()  # in use
    await repositories.discard("at_1")
    assert await repositories.pack() == (f"packed the mirror {mirror.path.name}",)
    assert len(list((mirror.path / "objects" / "pack").glob("*.pack"))) == 1
    assert (await mirror.git("cat-file", "-t", base.decode().strip())) == b"commit\n"
    again = await repositories.prepare("at_2", str(tmp_path / "up"), "main", [], "")
    assert again.base == prepared.base
