from __future__ import annotations

import asyncio
from pathlib import Path

from tests.fakes.brokerage import Brokerage, Guest, agit, git


async def clone(house: Brokerage, guest: Guest) -> Path:
    folder = house.root / f"clone-{guest.attempt_id}"
    await agit(house.root, "clone", "-q", guest.url, str(folder))
    return folder


def commit(folder: Path, name: str, text: str) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", name)
    return git(folder, "rev-parse", "HEAD").stdout.strip()


async def test_clone_and_push_reach_the_upstream(house: Brokerage) -> None:
    guest = await house.attach("at_1", upstream=house.upstream)
    folder = await clone(house, guest)
    assert (folder / "README.md").read_text() == "hello\n"
    head = commit(folder, "new.txt", "one\n")
    await agit(folder, "push", "origin", f"HEAD:{guest.push_ref}")
    assert git(house.upstream, "rev-parse", guest.push_ref).stdout.strip() == head
    second = commit(folder, "new.txt", "two\n")
    await agit(folder, "push", "origin", f"HEAD:{guest.push_ref}")
    assert git(house.upstream, "rev-parse", guest.push_ref).stdout.strip() == second
    assert house.records.pushes == [("at_1", head), ("at_1", second)]
