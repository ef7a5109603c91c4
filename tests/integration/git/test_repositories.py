"""Mirrors, bases and the courier against real upstreams: on this disk, over HTTP with a password, as another user."""

from __future__ import annotations

import asyncio
import base64
import http.server
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostd.errors import ConfigError, MirrorError, RepositoryRefusedError, UpstreamError
from hostd.git.address import parse
from hostd.git.command import GitError, User, run
from hostd.git.repositories import GitRepositories
from hostd.ports import Checkout, Dependency
from tests.fakes.brokerage import BROKER, COURIER, GIT_ENV, SHARED, git, make_upstream

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: other users")
USER, PASSWORD = "courier", "canary-" + "hunter2"


@pytest.fixture
def root() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="swarm-test-"))
    root.chmod(0o711)
    yield root
    shutil.rmtree(root)


def repositories(root: Path, **options: Path | bool) -> GitRepositories:
    return GitRepositories(root / "git", uid=COURIER, gid=SHARED, broker_uid=BROKER, **options)  # type: ignore[arg-type]


@pytest.fixture
async def repos(root: Path) -> GitRepositories:
    repos = repositories(root)
    await repos.open()
    return repos


def commit(folder: Path, branch: str, files: dict[str, str], start: str = "main") -> Dependency:
    """A branch with one commit, as a dependency on it."""
    git(folder, "checkout", "-q", "-B", branch, start)
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", branch)
    head = git(folder, "rev-parse", "HEAD").stdout.strip()
    git(folder, "checkout", "-q", "main")
    return Dependency(branch, f"refs/heads/{branch}", head)


def parents(folder: Path, checkout: Checkout) -> list[str]:
    return git(checkout.staging, "-c", "safe.directory=*", "log", "-1", "--format=%P", checkout.base).stdout.split()


async def test_the_base_without_dependencies_is_the_newest_default_branch(root: Path, repos: GitRepositories) -> None:
    upstream = make_upstream(root / "up")
    first = await repos.prepare("at_1", str(upstream), "main", [], "")
    newer = commit(upstream, "newer", {"a": "1"}).head
    git(upstream, "merge", "-q", "newer")
    second = await repos.prepare("at_2", f"file://{upstream}", "main", [], "")
    assert (first.base != second.base, second.base) == (True, newer)
    again = await repos.prepare("at_2", str(upstream), "main", [], first.base)
    assert again.base == first.base


async def test_dependencies_are_merged_in_the_mirror_the_same_way_each_time(root: Path, repos: GitRepositories) -> None:
    upstream = make_upstream(root / "up")
    heads = [commit(upstream, name, {name: name}) for name in ("a", "b", "c")]
    one = await repos.prepare("at_1", str(upstream), "main", heads[:1], "")
    assert one.base == heads[0].head
    both = await repos.prepare("at_2", str(upstream), "main", heads[:2], "")
    assert parents(upstream, both) == [heads[0].head, heads[1].head]
    others = repositories(root / "other")
    (root / "other").mkdir()
    await others.open()
    assert (await others.prepare("at_3", str(upstream), "main", heads[:2], "")).base == both.base
    every = await repos.prepare("at_4", str(upstream), "main", heads, "")
    files = git(every.staging, "-c", "safe.directory=*", "ls-tree", "--name-only", every.base).stdout.split()
    assert files == ["README.md", "a", "b", "c"]
    contained = await repos.prepare(
        "at_5", str(upstream), "main", [heads[0], commit(upstream, "d", {"d": "d"}, "a")], ""
    )
    assert contained.base != heads[0].head
    assert contained.merge_heads == ()


async def test_heads_that_conflict_are_left_to_the_agent(root: Path, repos: GitRepositories) -> None:
    upstream = make_upstream(root / "up")
    heads = [commit(upstream, name, {"README.md": name, name: name}) for name in ("a", "b")]
    heads.append(commit(upstream, "c", {"c": "c"}))
    checkout = await repos.prepare("at_1", str(upstream), "main", heads, "")
    assert checkout.conflicts == ("README.md",)
    assert checkout.merge_heads == (heads[1].head,)
    assert parents(upstream, checkout) == [heads[0].head, heads[2].head]


async def test_a_repository_without_commits_has_no_base(root: Path, repos: GitRepositories) -> None:
    git(root, "init", "-q", "--bare", "up")
    assert (await repos.prepare("at_1", str(root / "up"), "main", [], "")).base == ""


async def test_what_cannot_be_prepared_says_why(root: Path, repos: GitRepositories) -> None:
    upstream = make_upstream(root / "up")
    (root / "plain").mkdir()
    missing = Dependency("TKT-9", "refs/heads/x", "a" * 40)
    for url, branch, dependencies, kind, word in (
        (str(upstream), "nope", [], RepositoryRefusedError, "no branch nope"),
        (str(upstream), "--upload-pack=x", [], RepositoryRefusedError, "not a branch name"),
        (str(upstream), "main", [missing], RepositoryRefusedError, "TKT-9"),
        (str(root / "gone"), "main", [], RepositoryRefusedError, "No such file"),
        (str(root / "plain"), "main", [], RepositoryRefusedError, "not appear to be a git repository"),
        ("ext::sh", "main", [], RepositoryRefusedError, "none of"),
        ("http://127.0.0.1:1/x", "main", [], UpstreamError, "cannot fetch"),
    ):
        with pytest.raises(kind, match=word):
            await repos.prepare("at_1", url, branch, dependencies, "")
    with pytest.raises(RepositoryRefusedError):
        await repos.prepare("../at_1", str(upstream), "main", [], "")


async def test_waiters_for_one_upstream_share_a_fetch(
    root: Path, repos: GitRepositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = make_upstream(root / "up")
    count = 0
    fetch = repos._courier.fetch

    async def counted(*arguments: object) -> None:
        nonlocal count
        count += 1
        await fetch(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(repos._courier, "fetch", counted)
    await asyncio.gather(*(repos.prepare(f"at_{n}", str(upstream), "main", [], "") for n in range(8)))
    assert count <= 2


async def test_pushes_create_advance_and_never_overwrite(root: Path, repos: GitRepositories) -> None:
    upstream = make_upstream(root / "up")
    first = git(upstream, "rev-parse", "main").stdout.strip()
    second = commit(upstream, "x", {"x": "x"}).head
    other = commit(upstream, "y", {"y": "y"}).head
    await repos.prepare("at_1", str(upstream), "main", [], "")
    ref = "refs/heads/swarm/T/a1"
    for head in (first, first, second, second):
        await repos.push("at_1", head, ref)
        assert git(upstream, "rev-parse", ref).stdout.strip() == head
    with pytest.raises(UpstreamError):
        await repos.push("at_1", other, ref)
    assert git(upstream, "rev-parse", ref).stdout.strip() == second
    await repos.push("at_1", other, ref, replace=True)
    assert git(upstream, "rev-parse", ref).stdout.strip() == other
    with pytest.raises(RepositoryRefusedError):
        await repos.push("at_1", other, "refs/tags/x")
    await repos.discard("at_1")
    await repos.discard("at_1")
    assert list((root / "git" / "staging").iterdir()) == []
    with pytest.raises(MirrorError):
        await repos.push("at_1", other, ref)


async def test_a_restart_drops_what_nobody_keeps(root: Path, repos: GitRepositories) -> None:
    upstream = make_upstream(root / "up")
    for name in ("at_1", "at_2"):
        await repos.prepare(name, str(upstream), "main", [], "")
    again = repositories(root)
    await again.open(keep=["at_2"])
    assert [path.name for path in (root / "git" / "staging").iterdir()] == ["at_2.git"]
    await again.adopt("at_2", str(upstream))
    await again.push("at_2", git(upstream, "rev-parse", "main").stdout.strip(), "refs/heads/swarm/T/a1")


@needs_root
async def test_local_upstreams_are_used_as_their_owner(root: Path, repos: GitRepositories) -> None:
    """A repository that only its owner can read works, and what is pushed belongs to the owner."""
    upstream = make_upstream(root / "up")
    for path in (upstream, *upstream.rglob("*")):
        os.chown(path, 64999, 64999)
    upstream.chmod(0o700)
    checkout = await repos.prepare("at_1", str(upstream), "main", [], "")
    await repos.push("at_1", checkout.base, "refs/heads/swarm/T/a1")
    pushed = upstream / ".git" / "refs" / "heads" / "swarm" / "T" / "a1"
    assert pushed.stat().st_uid == 64999


@needs_root
@needs_root
async def test_what_others_put_into_a_folder_of_root_is_no_repository_of_root(
    root: Path, repos: GitRepositories
) -> None:
    upstream = root / "shared"
    git(root, "init", "-q", "--bare", "shared")
    upstream.chmod(0o1777)
    for name in ("config", "HEAD"):
        os.chown(upstream / name, BROKER, SHARED)
    with pytest.raises(RepositoryRefusedError, match="belongs to another user"):
        await repos.prepare("at_1", str(upstream), "main", [], "")
    os.chown(upstream, BROKER, SHARED)
    await repos.prepare("at_1", str(upstream), "main", [], "")


@needs_root
async def test_what_the_courier_put_into_its_home_is_never_given_to_it(root: Path, repos: GitRepositories) -> None:
    secret = root / "secret"
    secret.write_text("root's")
    for name in ("known_hosts", "passwd", "credentials", "more"):
        path = root / "git" / "courier" / name
        path.unlink(missing_ok=True)
        path.symlink_to(secret)
    await repositories(root).open()
    assert (secret.read_text(), secret.stat().st_uid, secret.stat().st_mode & 0o777) == ("root's", 0, 0o644)


@needs_root
async def test_only_root_puts_names_beside_mirrors_and_staging_repositories(root: Path, repos: GitRepositories) -> None:
    upstream = make_upstream(root / "up")
    checkout = await repos.prepare("at_1", str(upstream), "main", [], "")
    for user in (User(COURIER, SHARED), User(BROKER, SHARED)):
        for folder in ("mirrors", "staging"):
            with pytest.raises(GitError, match="Permission denied"):
                await run([*user.prefix(), "ln", "-s", "/etc", str(root / "git" / folder / "x")])
    assert {path.stat().st_uid for path in checkout.staging.rglob("*")} == {BROKER}


async def test_a_staging_repository_is_given_away_from_the_leaves_up(
    root: Path, repos: GitRepositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is touched below a folder that its new owner can change already may be a link to anywhere."""
    given: list[Path] = []
    real = os.chown

    def chown(path: Path, uid: int, gid: int, *, follow_symlinks: bool = True) -> None:
        assert not set(path.parents) & set(given)
        given.append(path)
        real(path, uid, gid, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "chown", chown)
    staging = root / "git" / "staging" / "at_1.git"
    await repos.prepare("at_1", str(make_upstream(root / "up")), "main", [], "")
    assert os.geteuid() != 0 or given[-1] == staging


async def test_a_state_directory_out_of_reach_is_refused(root: Path) -> None:
    closed = root / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigError, match="--state-dir"):
        await repositories(closed).open()


async def test_credentials_that_cannot_be_read_are_refused(root: Path) -> None:
    with pytest.raises(UpstreamError, match="credentials"):
        await repositories(root, credentials=root / "none").open()


@needs_root
async def test_ssh_runs_for_a_user_without_an_account(root: Path) -> None:
    repos = repositories(root)
    await repos.open()
    prefix, _ = repos._courier._network(parse("ssh://git@example.org/a"))
    output = await run([*prefix, "id", "-nu"])
    assert output == b"swarm-git\n"
    with pytest.raises(KeyError):
        pwd.getpwnam("swarm-git")


class Forge(http.server.CGIHTTPRequestHandler):
    """git-http-backend behind a password."""

    def do_GET(self) -> None:
        self.serve()

    def do_POST(self) -> None:
        self.serve()

    def log_message(self, *arguments: object) -> None:
        pass

    def serve(self) -> None:
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="forge"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length", 0))
        env = {
            **GIT_ENV,
            "GIT_PROJECT_ROOT": str(self.server.folder),  # type: ignore[attr-defined]
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REMOTE_USER": USER,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        body = self.rfile.read(length)
        answer = subprocess.run(["git", "http-backend"], env=env, input=body, stdout=subprocess.PIPE, check=True).stdout
        head, _, content = answer.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(lines.pop("Status", "200").split()[0]))
        for name, value in lines.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def forge(root: Path) -> Iterator[str]:
    make_upstream(root / "up")
    git(root, "clone", "-q", "--bare", "up", "repo.git")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forge)
    server.folder = root  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/repo.git"
    server.shutdown()
    server.server_close()


async def test_a_password_of_the_host_opens_an_http_upstream_and_is_left_nowhere(root: Path, forge: str) -> None:
    credentials = root / "credentials"
    credentials.write_text(forge.replace("http://", f"http://{USER}:{PASSWORD}@").replace("/repo.git", "") + "\n")
    credentials.chmod(0o600)
    repos = repositories(root, credentials=credentials)
    await repos.open()
    checkout = await repos.prepare("at_1", forge, "main", [], "")
    await repos.push("at_1", checkout.base, "refs/heads/swarm/T/a1")
    assert git(root / "repo.git", "rev-parse", "refs/heads/swarm/T/a1").stdout.strip() == checkout.base
    copy = root / "git" / "courier" / "credentials"
    assert copy.stat().st_mode & 0o777 == 0o600
    holders = [path for path in (root / "git").rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert holders == [copy]
    if os.geteuid() == 0:
        assert copy.stat().st_uid == COURIER
        with pytest.raises(GitError, match="Permission denied"):
            await run([*User(BROKER, SHARED).prefix(), "cat", str(copy)])


async def test_without_the_password_the_error_says_so(root: Path, forge: str) -> None:
    repos = repositories(root)
    await repos.open()
    with pytest.raises(UpstreamError, match=r"(?i)authentication|could not read Username") as error:
        await repos.prepare("at_1", forge, "main", [], "")
    assert PASSWORD not in str(error.value)


class Answer(http.server.BaseHTTPRequestHandler):
    """Always the status that its server has."""

    def do_GET(self) -> None:
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on the test's output."""


@pytest.mark.parametrize(
    ("status", "cause"),
    [(429, "git_rate_limited"), (503, "git_down"), (403, "bad_ticket"), (404, "bad_ticket")],
)
async def test_the_answer_of_an_upstream_says_whose_fault_it_is(
    repos: GitRepositories, status: int, cause: str
) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.status = status  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(UpstreamError) as error:
            await repos.prepare("at_1", f"http://127.0.0.1:{server.server_port}/repo.git", "main", [], "")
    finally:
        server.shutdown()
        server.server_close()
    assert error.value.cause == cause


async def test_a_shallow_upstream_is_refused_and_an_empty_one_is_not(root: Path, repos: GitRepositories) -> None:
    """git mirrors nothing of a shallow clone and calls that a success: it must not pass for an empty repository."""
    upstream = make_upstream(root / "up")
    commit(upstream, "newer", {"a": "1"})
    git(upstream, "merge", "-q", "newer")
    shallow, empty = root / "shallow.git", root / "empty.git"
    git(root, "clone", "-q", "--bare", "--depth=1", f"file://{upstream}", str(shallow))
    git(root, "init", "-q", "--bare", str(empty))

    with pytest.raises(RepositoryRefusedError, match="unshallow"):
        await repos.prepare("at_1", str(shallow), "", [], "")

    assert (await repos.prepare("at_2", str(empty), "", [], "")).base == ""
