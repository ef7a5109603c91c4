"""The local forge over real repositories on disk."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from controlplane.domain.project import Project, ProjectSpec
from controlplane.domain.pullrequest import PullRequest, PullRequestState
from controlplane.errors import FailedPrecondition, InvalidInput
from controlplane.forge.local import LocalForge
from controlplane.forge.mirror import Mirrors

IDENTITY = {f"GIT_{r}_{w}": "someone@example.org" for r in ("AUTHOR", "COMMITTER") for w in ("NAME", "EMAIL")}


def git(directory: Path, *arguments: str) -> str:
    env = {**os.environ, **IDENTITY, "GIT_CONFIG_GLOBAL": "/dev/null"}
    command = ["git", "-c", "safe.directory=*", "-C", str(directory), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.strip()


class Upstream:
    """A bare repository with one commit on main, and a work tree to add more."""

    def __init__(self, root: Path) -> None:
        self.bare, self.tree = root / "upstream.git", root / "tree"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(self.bare)], check=True)
        subprocess.run(["git", "clone", "-q", str(self.bare), str(self.tree)], check=True, capture_output=True)
        git(self.tree, "checkout", "-q", "-b", "main")
        self.base = self.commit("main", "a.txt", "one\n", start="")

    def commit(self, branch: str, name: str, text: str, start: str = "HEAD") -> str:
        if start:
            git(self.tree, "checkout", "-q", "-B", branch, start)
        (self.tree / name).write_text(text)
        git(self.tree, "add", "-A")
        git(self.tree, "commit", "-q", "-m", f"Change {name}")
        git(self.tree, "push", "-q", "origin", branch)
        return git(self.tree, "rev-parse", "HEAD")


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path)


@pytest.fixture
def forge(tmp_path: Path) -> LocalForge:
    return LocalForge(Mirrors(tmp_path / "state" / "forge"))


def project(upstream: Upstream) -> Project:
    return Project("pj_1", "default", ProjectSpec("demo", repository=str(upstream.bare)), 0.0)


def pull_request(base: str, head: str, base_branch: str = "main") -> PullRequest:
    return PullRequest(
        "pr_1",
        1,
        "pj_1",
        "tk_1",
        "TKT-001",
        "title",
        "",
        PullRequestState.OPEN,
        base_branch,
        "swarm/TKT-001/pr",
        base,
        head,
        0.0,
    )


def test_probe_names_the_default_branch(forge: LocalForge, upstream: Upstream) -> None:
    assert asyncio.run(forge.probe(str(upstream.bare))) == "main"


def test_probe_of_nothing_and_of_an_empty_repository_is_invalid_input(forge: LocalForge, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "empty.git")], check=True)

    for path in (tmp_path / "absent.git", tmp_path / "empty.git", tmp_path):
        with pytest.raises(InvalidInput):
            asyncio.run(forge.probe(str(path)))


def test_publish_moves_the_branch_and_twice_is_once(forge: LocalForge, upstream: Upstream) -> None:
    head = upstream.commit("swarm/TKT-001/a1", "b.txt", "two\n")

    async def twice() -> None:
        await forge.publish(project(upstream), "TKT-001", head)
        await forge.publish(project(upstream), "TKT-001", head)

    asyncio.run(twice())

    assert git(upstream.bare, "rev-parse", "refs/heads/swarm/TKT-001/pr") == head


def test_publish_moves_on_to_the_head_of_a_later_attempt(forge: LocalForge, upstream: Upstream) -> None:
    first = upstream.commit("swarm/TKT-001/a1", "b.txt", "two\n")
    second = upstream.commit("swarm/TKT-001/a2", "b.txt", "three\n", start=upstream.base)

    async def both() -> None:
        await forge.publish(project(upstream), "TKT-001", first)
        await forge.publish(project(upstream), "TKT-001", second)

    asyncio.run(both())

    assert git(upstream.bare, "rev-parse", "refs/heads/swarm/TKT-001/pr") == second


def test_diff_and_stat_show_what_the_head_adds(forge: LocalForge, upstream: Upstream) -> None:
    head = upstream.commit("swarm/TKT-001/a1", "b.txt", "two\nthree\n")
    upstream.commit("main", "c.txt", "not in the diff\n", start=upstream.base)

    diff, truncated = asyncio.run(forge.diff(project(upstream), "main", head, 1 << 20))
    stat = asyncio.run(forge.stat(project(upstream), "main", head))

    assert b"+three" in diff
    assert b"c.txt" not in diff
    assert not truncated
    assert (stat.additions, stat.deletions, stat.changed_files) == (2, 0, 1)


def test_a_long_diff_is_cut_and_says_so(forge: LocalForge, upstream: Upstream) -> None:
    head = upstream.commit("swarm/TKT-001/a1", "b.txt", "x\n" * 5000)

    diff, truncated = asyncio.run(forge.diff(project(upstream), "main", head, 1000))

    assert len(diff) == 1000
    assert truncated


def test_merge_makes_a_merge_commit_with_both_parents(forge: LocalForge, upstream: Upstream) -> None:
    head = upstream.commit("swarm/TKT-001/a1", "b.txt", "two\n")
    tip = upstream.commit("main", "c.txt", "other work\n", start=upstream.base)

    merged = asyncio.run(forge.merge(project(upstream), pull_request(upstream.base, head), "Merge it"))

    assert merged.conflicts == ()
    assert git(upstream.bare, "rev-parse", "main") == merged.commit
    assert git(upstream.bare, "rev-list", "--parents", "-n1", "main").split()[1:] == [tip, head]


def test_merge_twice_is_once(forge: LocalForge, upstream: Upstream) -> None:
    head = upstream.commit("swarm/TKT-001/a1", "b.txt", "two\n")
    request = pull_request(upstream.base, head)

    first = asyncio.run(forge.merge(project(upstream), request, "Merge it"))
    second = asyncio.run(forge.merge(project(upstream), request, "Merge it"))

    assert second.commit == first.commit


def test_a_conflict_names_the_paths_and_moves_nothing(forge: LocalForge, upstream: Upstream) -> None:
    head = upstream.commit("swarm/TKT-001/a1", "a.txt", "mine\n")
    tip = upstream.commit("main", "a.txt", "theirs\n", start=upstream.base)

    merged = asyncio.run(forge.merge(project(upstream), pull_request(upstream.base, head), "Merge it"))

    assert merged == type(merged)("", ("a.txt",))
    assert git(upstream.bare, "rev-parse", "main") == tip


def test_a_branch_checked_out_upstream_is_refused_with_a_hint(forge: LocalForge, upstream: Upstream) -> None:
    head = upstream.commit("swarm/TKT-001/a1", "b.txt", "two\n")
    git(upstream.tree, "checkout", "-q", "main")
    there = Project("pj_2", "default", ProjectSpec("demo", repository=str(upstream.tree)), 0.0)

    with pytest.raises(FailedPrecondition, match="bare repository"):
        asyncio.run(forge.merge(there, pull_request(upstream.base, head), "Merge it"))


def test_hooks_of_the_upstream_and_configuration_of_its_owner_do_not_run_as_us(
    forge: LocalForge, upstream: Upstream, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    head = upstream.commit("swarm/TKT-001/a1", "b.txt", "two\n")
    asyncio.run(forge.publish(project(upstream), "TKT-001", head))
    (mirror,) = (tmp_path / "state" / "forge").iterdir()
    hooks = mirror / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "reference-transaction").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (hooks / "reference-transaction").chmod(0o755)

    upstream.commit("main", "d.txt", "more\n", start=upstream.base)
    asyncio.run(forge.stat(project(upstream), upstream.base, upstream.commit("x", "e.txt", "e\n")))

    assert not marker.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as another account")
def test_git_acts_as_the_owner_of_the_upstream(forge: LocalForge, upstream: Upstream, tmp_path: Path) -> None:
    head = upstream.commit("swarm/TKT-001/a1", "b.txt", "two\n")
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        folder.chmod(folder.stat().st_mode | 0o011)
    subprocess.run(["chown", "-R", "65534:65534", str(upstream.bare)], check=True)

    asyncio.run(forge.publish(project(upstream), "TKT-001", head))

    written = upstream.bare / "refs" / "heads" / "swarm" / "TKT-001" / "pr"
    assert written.stat().st_uid == 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: other users")
async def test_what_others_put_into_a_folder_of_root_is_no_repository_of_root(
    upstream: Upstream, forge: LocalForge
) -> None:
    os.chown(upstream.bare / "config", 65534, 65534)
    with pytest.raises(InvalidInput, match="config belongs to another user") as caught:
        await forge.probe(str(upstream.bare))
    assert caught.value.reason == "repository_unreadable"


async def test_branches_of_attempts_go_and_what_is_asked_for_stays(forge: LocalForge, upstream: Upstream) -> None:
    mine = "swarm/TKT-001"
    first = upstream.commit(f"{mine}/a1", "b.txt", "first\n", start="main")
    head = upstream.commit(f"{mine}/a2", "b.txt", "second\n", start="main")
    upstream.commit("swarm/TKT-0012/a1", "c.txt", "of another\n", start="main")
    upstream.commit(f"{mine}/base", "d.txt", "base\n", start="main")
    branches = ("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/swarm")
    assert await forge.remove_attempts(project(upstream), "TKT-001", head) == (f"refs/heads/{mine}/a1",)
    await forge.publish(project(upstream), "TKT-001", head)
    assert await forge.remove_attempts(project(upstream), "TKT-001", head) == (f"refs/heads/{mine}/a2",)
    assert await forge.remove_attempts(project(upstream), "TKT-001", head) == ()
    left = [f"{mine}/base", f"{mine}/pr", "swarm/TKT-0012/a1"]
    assert git(upstream.bare, *branches).split() == left
    mirror = (await forge.mirrors.opened(str(upstream.bare))).directory
    assert git(mirror, *branches).split() == left
    assert git(upstream.bare, "rev-parse", f"{mine}/pr") == head != first
