"""What a claim's git URL takes and refuses: the real git client, and bytes that no git sends."""

from __future__ import annotations

import asyncio
import base64
import gzip
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from swarm_sdk import Client, TicketSpec
from tests.e2e.harness.upstream import Upstream
from tests.fakes.control import Control, control_plane
from tests.integration.external.conftest import AGENT, Claimed, clone, git

ZERO = "0" * 40


@pytest.fixture
async def control(home: Path) -> AsyncIterator[Control]:
    """One that takes pushes of up to 1 MiB."""
    async with control_plane(home, push_mib=1) as running:
        yield running


async def test_a_clone_has_what_the_attempt_needs_and_no_more(claimed: Claimed, upstream: Upstream) -> None:
    upstream.git("branch", "secret-plans", "main")
    listed = await claimed.clone.ok("ls-remote", "origin")
    refs = {line.split("\t")[1] for line in listed.splitlines()}
    assert refs == {"HEAD", "refs/heads/main", claimed.claim.push_ref}
    assert await claimed.clone.ok("branch", "--show-current") == "swarm/TKT-001/a1"


async def test_work_of_another_ticket_cannot_be_fetched_by_name_or_by_id(
    claimed: Claimed, client: Client, upstream: Upstream, tmp_path: Path
) -> None:
    blob = upstream.git("hash-object", "-w", "config")
    upstream.git("update-index", "--add", "--cacheinfo", f"100644,{blob},theirs")
    theirs = upstream.git("commit-tree", upstream.git("write-tree"), "-p", "main", "-m", "theirs")
    upstream.git("update-ref", "refs/heads/swarm/TKT-009/a1", theirs)
    await client.tickets.create(TicketSpec(title="Another", project_id=claimed.ticket.spec.project_id))
    mine = await client.tickets.claim([AGENT])  # the mirror has the other's branch by now
    assert mine
    work = await clone(mine, tmp_path / "mine")
    for version in "012":
        config = (f"protocol.version={version}",)
        for wanted in ("refs/heads/swarm/TKT-009/a1", theirs, blob):
            assert (await work.git("fetch", "origin", wanted, config=config)).code
        assert (await work.git("fetch", "origin", "main", config=config)).code == 0


async def test_every_protocol_version_can_clone_in_depth_and_in_part(claimed: Claimed, tmp_path: Path) -> None:
    for version in "012":
        for options in (("--depth=1",), ("--filter=blob:none", "--no-checkout")):
            folder, config = str(tmp_path / f"{version}{options[0]}"), (f"protocol.version={version}",)
            done = await git("clone", "-q", *options, claimed.claim.git_url, folder, cwd=tmp_path, config=config)
            assert done.code == 0, done.err


async def test_only_its_own_branch_can_be_pushed(claimed: Claimed) -> None:
    await claimed.clone.commit("b.txt", "two\n")
    before = await claimed.clone.ok("ls-remote", "origin")
    own = "the one ref that may be pushed is refs/heads/swarm/TKT-001/a1"
    for refspecs, why in (
        (["HEAD:refs/heads/main"], own),
        (["HEAD:refs/heads/swarm/TKT-001/a2"], own),
        (["HEAD:refs/heads/swarm/TKT-001/pr"], own),
        (["HEAD:refs/tags/v1"], own),
        (["HEAD:refs/heads/swarm/TKT-001/a1", "HEAD:refs/heads/x"], "one ref per push"),
        ([":refs/heads/main"], "[remote rejected]"),
    ):
        done = await claimed.clone.git("push", "origin", *refspecs)
        assert done.code
        assert why in done.err
    assert await claimed.clone.ok("ls-remote", "origin") == before


async def test_its_branch_is_neither_deleted_nor_rewritten(claimed: Claimed) -> None:
    await claimed.clone.commit("b.txt", "two\n")
    await claimed.clone.ok("push", "--quiet")
    assert (await claimed.clone.git("push", "origin", ":refs/heads/swarm/TKT-001/a1")).code
    await claimed.clone.commit("b.txt", "three\n", "Rewritten", "--amend")
    done = await claimed.clone.git("push", "--force")
    assert done.code
    assert "non-fast-forward" in done.err
    await claimed.clone.ok("reset", "--quiet", "--hard", "origin/swarm/TKT-001/a1")
    await claimed.clone.commit("c.txt", "more\n")
    await claimed.clone.ok("push", "--quiet")


async def test_large_pushes_come_in_chunks_and_too_large_ones_not_at_all(claimed: Claimed, control: Control) -> None:
    """git sends in chunks what is larger than its buffer."""
    small_buffer = ("http.postBuffer=65536",)
    await claimed.clone.commit("big", os.urandom(600 << 10))
    done = await claimed.clone.git("push", config=small_buffer)
    assert done.code == 0, done.err
    held = await claimed.clone.ok("ls-remote", "origin")
    await claimed.clone.commit("huge", os.urandom(2 << 20))
    for config in (small_buffer, ("http.postBuffer=16777216",)):
        done = await claimed.clone.git("push", config=config)
        assert done.code
    assert await claimed.clone.ok("ls-remote", "origin") == held
    left = sum(path.stat().st_size for path in control.config.state_dir.glob("git/claims/*/objects/**/*.pack"))
    assert left < 1 << 20


async def test_a_broken_object_is_refused(claimed: Claimed) -> None:
    """fsck is on: a tree that holds a file twice, or one named .git, comes in nowhere."""
    blob = await claimed.clone.ok("hash-object", "-w", "a.txt")
    entry = b"100644 .git\0" + bytes.fromhex(blob)
    (claimed.clone.folder / "tree").write_bytes(entry)
    tree = await claimed.clone.ok("hash-object", "-t", "tree", "-w", "--literally", "tree")
    bad = await claimed.clone.ok("commit-tree", tree, "-p", "HEAD", "-m", "bad")
    done = await claimed.clone.git("push", "origin", f"{bad}:refs/heads/swarm/TKT-001/a1")
    assert done.code
    assert "hasDotgit" in done.err


async def test_a_wrong_secret_opens_nothing(client: Client, claimed: Claimed, tmp_path: Path) -> None:
    await client.tickets.create(TicketSpec(title="another", agent=AGENT, project_id=claimed.ticket.spec.project_id))
    other = await client.tickets.claim([AGENT])
    assert other
    mine, theirs = urlsplit(claimed.claim.git_url), urlsplit(other.git_url)
    assert mine.password != theirs.password
    for url in (
        claimed.claim.git_url.replace(mine.password or "", "swm_git_" + "a" * 43),
        claimed.claim.git_url.replace(mine.path, theirs.path),
        claimed.claim.git_url.replace(f"{mine.username}:{mine.password}@", ""),
    ):
        done = await git("clone", url, str(tmp_path / "none"), cwd=tmp_path)
        assert done.code
        assert "could not read" in done.err or "Authentication failed" in done.err
    await client.tickets.complete(claimed.ticket.id, 1)
    done = await git("clone", claimed.claim.git_url, str(tmp_path / "none"), cwd=tmp_path)
    assert "the claim is over" in done.err


async def test_no_secret_is_kept_or_logged(
    client: Client, control: Control, claimed: Claimed, caplog: pytest.LogCaptureFixture
) -> None:
    await client.tickets.claim(key="remembered")
    await claimed.clone.ok("fetch", "--quiet")
    secret = urlsplit(claimed.claim.git_url).password or "?"
    await client.tickets.complete(claimed.ticket.id, 1)
    assert secret not in caplog.text
    for path in control.config.state_dir.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


async def answer(claimed: Claimed, head: str, body: bytes) -> str:
    """Status line and body of one raw request; `{}` in the head is the claim's path."""
    url = urlsplit(claimed.claim.git_url)
    reading, writing = await asyncio.open_connection(url.hostname, url.port)
    token = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    lines = [head.replace("{}", url.path), "Host: x", "Connection: close", f"Authorization: Basic {token}"]
    writing.write("\r\n".join(lines).encode() + b"\r\n" + body)
    async with asyncio.timeout(60):
        said = await reading.read()
    writing.close()
    return said.decode(errors="replace")


PUSH = "POST {}/git-receive-pack HTTP/1.1"
PUSH_KIND = b"Content-Type: application/x-git-receive-pack-request\r\n"
FETCH = "POST {}/git-upload-pack HTTP/1.1"
FETCH_KIND = b"Content-Type: application/x-git-upload-pack-request\r\n"


def sized(kind: bytes, body: bytes, more: bytes = b"") -> bytes:
    return kind + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def command(ref: str = "refs/heads/swarm/TKT-001/a1", capabilities: str = "report-status") -> bytes:
    line = f"{ZERO} {'a' * 40} {ref}\0{capabilities}\n".encode()
    return b"%04x%b0000" % (len(line) + 4, line)


REQUESTS = (
    ("GET {}/info/refs HTTP/1.1", b"\r\n", 403),
    ("GET {}/info/refs?service=git-evil HTTP/1.1", b"\r\n", 403),
    ("POST {}/info/refs HTTP/1.1", b"Content-Length: 0\r\n\r\n", 405),
    ("GET {}/git-receive-pack HTTP/1.1", b"\r\n", 405),
    ("GET {}/HEAD HTTP/1.1", b"\r\n", 404),
    ("GET {}/../../etc/passwd HTTP/1.1", b"\r\n", 404),
    ("GET / HTTP/1.1", b"\r\n", 404),
    ("GET {}/info/refs?service=git-upload-pack HTTP/1.1", b"Git-Protocol: version=9; rm\r\n\r\n", 400),
    (PUSH, sized(b"Content-Type: text/plain\r\n", b""), 415),
    (PUSH, sized(PUSH_KIND, b"", b"Content-Encoding: br\r\n"), 415),
    (PUSH, sized(PUSH_KIND, b"", b"Expect: miracles\r\n"), 417),
    (PUSH, sized(PUSH_KIND, b"zzzz"), 400),
    (PUSH, sized(PUSH_KIND, b"0003"), 400),
    (PUSH, sized(PUSH_KIND, b"00"), 400),
    (PUSH, sized(PUSH_KIND, b"0010shallow abc\n0000"), 400),
    (PUSH, sized(PUSH_KIND, command(capabilities="report-status push-options")), 400),
    (PUSH, sized(PUSH_KIND, b"fff0" + b"x" * 65532 + b"fff0"), 400),
    (PUSH, PUSH_KIND + b"Content-Length: 99999999999\r\n\r\n", 413),
    (PUSH, PUSH_KIND + b"Transfer-Encoding: chunked\r\n\r\nnot a size\r\n", 400),
    (PUSH, PUSH_KIND + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    (PUSH, sized(PUSH_KIND, b"0000", b"Content-Encoding: gzip\r\n"), 400),
    (PUSH, sized(PUSH_KIND, gzip.compress(b"0" * 9)[:-3], b"Content-Encoding: gzip\r\n"), 400),
    (PUSH, sized(PUSH_KIND, command("refs/heads/swarm/TKT-001/a1" + "/x" * 600)), 400),
    (FETCH, sized(FETCH_KIND, gzip.compress(bytes(64 << 20)), b"Content-Encoding: gzip\r\n"), 413),
    (FETCH, sized(FETCH_KIND, b"x" * (5 << 20)), 413),
    (PUSH, sized(PUSH_KIND, b"0000"), 200),
    (PUSH, sized(PUSH_KIND, gzip.compress(b"0000"), b"Content-Encoding: gzip\r\n"), 200),
    (PUSH, PUSH_KIND + b"Transfer-Encoding: chunked\r\n\r\n2\r\n00\r\n2\r\n00\r\n0\r\n\r\n", 200),
)


async def test_each_request_gets_its_answer(claimed: Claimed) -> None:
    said = await asyncio.gather(*(answer(claimed, head, rest) for head, rest, _ in REQUESTS))
    for (head, rest, status), words in zip(REQUESTS, said, strict=True):
        assert re.match(rf"HTTP/1\.[01] {status} ", words), (head, rest[:200], words[:300])
        assert "Traceback" not in words


async def test_whoever_waits_to_be_asked_for_the_body_is_asked(claimed: Claimed) -> None:
    said = await answer(claimed, PUSH, sized(PUSH_KIND, b"0000", b"Expect: 100-continue\r\n"))
    assert said.startswith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


async def test_a_push_that_is_cut_off_leaves_nothing(claimed: Claimed, control: Control) -> None:
    url = urlsplit(claimed.claim.git_url)
    token = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    _, writing = await asyncio.open_connection(url.hostname, url.port)
    head = f"{PUSH.replace('{}', url.path)}\r\nHost: x\r\nAuthorization: Basic {token}\r\n".encode()
    writing.write(head + PUSH_KIND + b"Content-Length: 100000\r\n\r\n" + command() + b"PACK" + bytes(1000))
    await writing.drain()
    writing.transport.abort()
    await claimed.clone.commit("b.txt", "two\n")
    await claimed.clone.ok("push", "--quiet")  # the claim's place for pushes is free again


async def test_the_port_is_the_same_after_a_restart(home: Path) -> None:
    async with control_plane(home):
        first = (home / "http.port").read_text()
    async with control_plane(home):
        assert (home / "http.port").read_text() == first
