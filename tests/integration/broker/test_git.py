"""Real git clients and hand-made requests against the broker's git endpoints."""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from hostd.git import pktline
from hostd.ports import Limits
from tests.fakes.brokerage import GIT_ENV, Brokerage, Guest, agit, git

ZERO = "0" * 40
KEY = "AKIA" + "QWERTYUIOPASDFGH"


async def clone(house: Brokerage, guest: Guest) -> Path:
    folder = house.root / f"clone-{guest.attempt_id}"
    await agit(house.root, "clone", "-q", guest.url, str(folder))
    return folder


def commit(folder: Path, name: str, text: str) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    git(folder, "add", "-A", "-f")
    git(folder, "commit", "-q", "-m", name)
    return git(folder, "rev-parse", "HEAD").stdout.strip()


def plumb(folder: Path, *arguments: str, data: bytes = b"") -> str:
    """git plumbing with bytes on its stdin."""
    done = subprocess.run(["git", *arguments], cwd=folder, env=GIT_ENV, input=data, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().strip()


def pack(folder: Path, *revisions: str) -> bytes:
    """A pack of what the revision arguments name."""
    argv = ["git", "pack-objects", "--revs", "--stdout", "-q"]
    data = "\n".join(revisions).encode() + b"\n"
    return subprocess.run(argv, cwd=folder, env=GIT_ENV, input=data, stdout=subprocess.PIPE, check=True).stdout


def raw_push(guest: Guest, commands: list[tuple[str, str, str]], data: bytes) -> str:
    """A push without git, as text; the connection closes after it."""
    lines = [f"{old} {new} {ref}".encode() for old, new, ref in commands]
    lines[0] += b"\0report-status agent=test"
    body = b"".join(map(pktline.encode, lines)) + pktline.FLUSH + data
    kind = "application/x-git-receive-pack-request"
    return guest.request("POST", "/git/repo.git/git-receive-pack", body, kind).decode(errors="replace")


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
    assert [found for _, found in house.records.found] == [[], []]


async def test_a_guest_sees_only_its_own_refs(house: Brokerage) -> None:
    git(house.upstream, "branch", "other")
    git(house.upstream, "tag", "-a", "v1", "-m", "v1")
    guest = await house.attach("at_1", upstream=house.upstream)
    listed = await agit(house.root, "ls-remote", guest.url)
    names = {line.split("\t")[1] for line in listed.stdout.splitlines()}
    assert names == {"HEAD", "refs/heads/main", "refs/swarm/base", "refs/tags/v1", "refs/tags/v1^{}"}


async def test_partial_and_shallow_clones_push_too(house: Brokerage) -> None:
    for number in range(5):
        commit(house.upstream, "README.md", f"{number}\n" * 100)
    guest = await house.attach("at_1", upstream=house.upstream)
    folder = house.root / "partial"
    await agit(house.root, "clone", "-q", "--filter=blob:none", guest.url, str(folder))
    commit(folder, "new.txt", "one\n")
    await agit(folder, "push", "origin", f"HEAD:{guest.push_ref}")
    await agit(folder, "show", "HEAD~3:README.md")  # fetched when it is asked for


def packed(kind: int, data: bytes, base: bytes = b"") -> bytes:
    """One object as it stands in a pack."""
    size, head = len(data), bytearray()
    byte, size = kind << 4 | size & 15, size >> 4
    while size:
        head.append(byte | 128)
        byte, size = size & 127, size >> 7
    return bytes([*head, byte]) + base + zlib.compress(data)


def handmade(*objects: bytes) -> bytes:
    """A pack of objects whatever they are."""
    data = b"PACK" + struct.pack("!II", 2, len(objects)) + b"".join(objects)
    return data + hashlib.sha1(data, usedforsecurity=False).digest()


async def test_deltas_without_end_or_ground(house: Brokerage, subtests: pytest.Subtests) -> None:
    guest = await house.attach("at_1", upstream=house.upstream)
    copy = b"\x08\x08\x90\x08"  # a delta that copies 8 bytes
    there, back = bytes(19) + b"\1", bytes(19) + b"\2"
    readme = bytes.fromhex(git(house.upstream, "rev-parse", "HEAD:README.md").stdout.strip())
    growing = b"\x08" + b"\xff\xff\xff\xff\x0f" + b"\x90\x08" * 10
    for name, data in {
        "cycle": handmade(packed(7, copy, there), packed(7, copy, back)),
        "no base": handmade(packed(7, copy, b"\xaa" * 20)),
        "offset before the pack": handmade(packed(6, copy, b"\xff\x7f")),
        "sizes that lie": handmade(packed(7, growing, readme)),
        "unknown kind": handmade(packed(5, b"x")),
        "more objects than there are": handmade(packed(3, b"x"))[:11] + b"\xff" + handmade(packed(3, b"x"))[12:],
    }.items():
        with subtests.test(name=name):
            answer = raw_push(guest, [(ZERO, "a" * 40, guest.push_ref)], data)
            assert "the pack is not accepted" in answer, answer


async def test_a_pack_that_grows_a_thousandfold(house: Brokerage) -> None:
    guest = await house.attach("at_1", upstream=house.upstream)
    folder = await clone(house, guest)
    with (folder / "zeros").open("wb") as file:
        file.truncate(150 << 20)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "zeros")
    done = await agit(folder, "push", "origin", f"HEAD:{guest.push_ref}", check=False)
    assert done.returncode != 0
    assert "zeros: 150 MiB; a file may have 100 MiB" in done.stdout
    assert "commits" not in done.stdout


@pytest.mark.parametrize(
    ("refspecs", "reason"),
    [
        (["HEAD:refs/heads/main"], "the one ref that may be pushed"),
        (["HEAD:refs/heads/swarm/at_1/a2"], "the one ref that may be pushed"),
        (["HEAD:refs/heads/swarm/at_1/a1/x"], "the one ref that may be pushed"),
        (["HEAD:refs/tags/v9"], "the one ref that may be pushed"),
        (["HEAD:refs/heads/swarm/at_1/a1", "HEAD:refs/heads/x"], "one ref per push"),
    ],
)
async def test_other_refs_are_refused_and_reported(house: Brokerage, refspecs: list[str], reason: str) -> None:
    guest = await house.attach("at_1", upstream=house.upstream)
    folder = await clone(house, guest)
    before = git(house.upstream, "for-each-ref").stdout
    commit(folder, "a.txt", "x")
    done = await agit(folder, "push", "origin", *refspecs, check=False)
    assert done.returncode != 0
    assert reason in done.stdout
    assert git(house.upstream, "for-each-ref").stdout == before
    assert house.records.pushes == []
    await house.records.until(lambda: house.records.denied)
    assert house.records.denied[0][1].startswith("push, refs/")
    assert house.records.texts("at_1", "blocked") == [house.records.denied[0][1]]


async def test_deleting_rewinding_and_unrelated_pushes_are_refused(house: Brokerage) -> None:
    guest = await house.attach("at_1", upstream=house.upstream)
    folder = await clone(house, guest)
    first = commit(folder, "a.txt", "x")
    await agit(folder, "push", "origin", f"HEAD:{guest.push_ref}")
    done = await agit(folder, "push", "origin", f":{guest.push_ref}", check=False)
    assert done.returncode != 0
    answer = raw_push(guest, [(first, ZERO, guest.push_ref)], b"")
    assert "a branch cannot be deleted" in answer
    git(folder, "commit", "-q", "--amend", "-m", "rewritten")
    done = await agit(folder, "push", "--force", "origin", f"HEAD:{guest.push_ref}", check=False)
    assert done.returncode != 0
    assert "not a fast-forward" in done.stdout
    assert git(house.upstream, "rev-parse", guest.push_ref).stdout.strip() == first


async def test_packs_that_are_broken_cut_or_incomplete(house: Brokerage) -> None:
    guest = await house.attach("at_1", upstream=house.upstream)
    folder = await clone(house, guest)
    commit(folder, "a.txt", "first\n" * 50)
    head = commit(folder, "a.txt", "first\n" * 51)
    good = pack(folder, head, "^origin/main")
    broken = good[:40] + bytes([good[40] ^ 255]) + good[41:]
    for data in (broken, good[:-10], b"PACK" + bytes(8), b"", good[:12] + bytes(20)):
        answer = raw_push(guest, [(ZERO, head, guest.push_ref)], data)
        assert "ng refs/heads/swarm/at_1/a1 the pack is not accepted" in answer, answer
    for data in (pack(folder, head, "^HEAD~1"), pack(folder, "origin/main", "^origin/main")):
        answer = raw_push(guest, [(ZERO, head, guest.push_ref)], data)
        assert "ng refs/heads/swarm/at_1/a1" in answer, answer
    blob = git(folder, "rev-parse", "HEAD:a.txt").stdout.strip()
    answer = raw_push(guest, [(ZERO, blob, guest.push_ref)], good)
    assert "a branch points to a commit" in answer
    assert house.records.pushes == []
    assert guest.checkout is not None
    assert not list(guest.checkout.staging.glob("quarantine-*"))
    answer = await asyncio.to_thread(raw_push, guest, [(ZERO, head, guest.push_ref)], good)
    assert f"ok {guest.push_ref}" in answer
    assert house.records.pushes == [("at_1", head)]


async def test_command_sections_that_no_git_sends(house: Brokerage, subtests: pytest.Subtests) -> None:
    guest = await house.attach("at_1", upstream=house.upstream)
    kind = "application/x-git-receive-pack-request"
    for body in [b"0000", b"zzzz", b"0003", b"ffff", b"0001", b"0010short", b"000abroken"]:
        with subtests.test(body=body):
            answer = guest.request("POST", "/git/repo.git/git-receive-pack", body, kind)
            assert answer.startswith(b"HTTP/1.1 200" if body == b"0000" else b"HTTP/1.1 400"), answer


async def test_a_pack_over_the_cap_is_refused(house: Brokerage) -> None:
    guest = await house.attach("at_1", upstream=house.upstream, limits=Limits(pack_bytes=200_000))
    folder = await clone(house, guest)
    (folder / "big").write_bytes(os.urandom(1_000_000))
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "big")
    done = await agit(folder, "push", "origin", f"HEAD:{guest.push_ref}", check=False)
    assert done.returncode != 0
    assert house.records.pushes == []
    git(folder, "reset", "-q", "--hard", "HEAD~1")
    commit(folder, "small", "x")
    await agit(folder, "push", "origin", f"HEAD:{guest.push_ref}")


async def test_a_thin_pack_is_completed(house: Brokerage) -> None:
    commit(house.upstream, "big.txt", "\n".join(map(str, range(20000))))
    guest = await house.attach("at_1", upstream=house.upstream)
    folder = await clone(house, guest)
    head = commit(folder, "big.txt", "\n".join(map(str, range(20001))))
    await agit(folder, "push", "--thin", "origin", f"HEAD:{guest.push_ref}")
    assert git(house.upstream, "rev-parse", guest.push_ref).stdout.strip() == head
    git(house.upstream, "fsck", "--strict")


HOSTILE_TREES = [
    ("100644", ".GIT", b"x"),
    ("100644", ".git", b"x"),
    ("100644", "..", b"x"),
    ("100644", "git~1", b"x"),
    ("100644", ".g\u200cit", b"x"),
    ("120000", ".gitmodules", b"/etc/passwd"),
    ("100644", ".gitmodules", b'[submodule "x"]\n\tpath = x\n\turl = --upload-pack=touch /tmp/x\n'),
    ("100644", ".gitmodules", b'[submodule "../../x"]\n\tpath = x\n\turl = https://example.org\n'),
]


async def test_trees_that_attack_git(house: Brokerage, subtests: pytest.Subtests) -> None:
    guest = await house.attach("at_1", upstream=house.upstream)
    folder = await clone(house, guest)
    for mode, name, content in HOSTILE_TREES:
        with subtests.test(mode=mode, name=name):
            blob = plumb(folder, "hash-object", "-w", "--stdin", data=content)
            entry = mode.encode() + b" " + name.encode() + b"\0" + bytes.fromhex(blob)
            tree = plumb(folder, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", data=entry)
            head = plumb(folder, "commit-tree", tree, "-p", "HEAD", "-m", "x")
            done = await agit(folder, "push", "origin", f"{head}:{guest.push_ref}", check=False)
            assert done.returncode != 0
            assert "the pack is not accepted" in done.stdout
    assert house.records.pushes == []


async def test_a_secret_refuses_the_push_and_says_where(house: Brokerage) -> None:
    guest = await house.attach("at_1", upstream=house.upstream)
    folder = await clone(house, guest)
    commit(folder, "src/conf.py", f"x = 1\nkey = '{KEY}'  # pragma: allowlist secret\n")
    commit(folder, "src/conf.py", "x = 1\n")  # taken back, and yet in the history
    done = await agit(folder, "push", "origin", f"HEAD:{guest.push_ref}", check=False)
    assert done.returncode != 0
    assert "src/conf.py:2" in done.stdout
    assert "secret.aws-access-key" in done.stdout
    assert KEY not in done.stdout
    assert house.records.pushes == []
    assert git(house.upstream, "for-each-ref", guest.push_ref).stdout == ""


async def test_changes_of_ci_are_found_and_let_through(house: Brokerage) -> None:
    guest = await house.attach("at_1", upstream=house.upstream)
    folder = await clone(house, guest)
    commit(folder, ".github/workflows/x.yml", "on: push\n")
    done = await agit(folder, "push", "origin", f"HEAD:{guest.push_ref}")
    assert "notice path.ci .github/workflows/x.yml" in done.stdout
    (_, found) = house.records.found[-1]
    assert [line.split(" ")[:3] for line in found] == [["notice", "path.ci", ".github/workflows/x.yml"]]


async def test_an_upstream_that_says_no_is_not_quoted_to_the_guest(house: Brokerage) -> None:
    hook = house.upstream / ".git" / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho upstream-detail >&2\nexit 1\n")
    hook.chmod(0o755)
    git(house.upstream, "config", "core.hooksPath", str(hook.parent))
    guest = await house.attach("at_1", upstream=house.upstream)

    async def refuse(attempt_id: str, head: str) -> None:
        await house.broker.pushed(attempt_id, head, "upstream-detail")

    house.records.pusher = refuse
    folder = await clone(house, guest)
    commit(folder, "a", "x")
    done = await agit(folder, "push", "origin", f"HEAD:{guest.push_ref}", check=False)
    assert done.returncode != 0
    assert "the upstream repository did not take the branch" in done.stdout
    assert "upstream-detail" not in done.stdout
    house.records.pusher = house.push
    await agit(folder, "push", "origin", f"HEAD:{guest.push_ref}")


async def test_a_result_names_only_a_head_that_was_pushed(house: Brokerage) -> None:
    guest = await house.attach("at_1", upstream=house.upstream)
    folder = await clone(house, guest)
    head = commit(folder, "a", "x")
    body = b'{"status": "succeeded", "head": "%s"}' % head.encode()
    assert guest.request("POST", "/v1/result", body).startswith(b"HTTP/1.1 409")
    await agit(folder, "push", "origin", f"HEAD:{guest.push_ref}")
    assert guest.request("POST", "/v1/result", body).startswith(b"HTTP/1.1 200")
    await house.records.until(lambda: house.records.outcomes)
    assert house.records.outcomes[0][2:] == (True, head)
    answer = await agit(folder, "push", "origin", f"HEAD~1:{guest.push_ref}", check=False)
    assert answer.returncode != 0
    assert guest.request("POST", "/v1/events", b'{"events": [{"seq": 1, "type": "log"}]}').startswith(b"HTTP/1.1 409")
