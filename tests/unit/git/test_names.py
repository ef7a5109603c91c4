from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostd.errors import RepositoryRefusedError
from hostd.git import address, refname


@pytest.mark.parametrize(
    ("url", "scheme", "path"),
    [
        ("https://github.com/a/b.git", "https", ""),
        ("http://127.0.0.1:3000/a/b", "http", ""),
        ("https://user@example.org/a", "https", ""),
        ("ssh://git@example.org:2222/a/b.git", "ssh", ""),
        ("ssh://[2001:db8::1]/a", "ssh", ""),
        ("/srv/git/a.git", "file", "/srv/git/a.git"),
        ("file:///srv/git/a%20b", "file", "/srv/git/a b"),
        ("file://localhost/srv/a", "file", "/srv/a"),
    ],
)
def test_addresses(url: str, scheme: str, path: str) -> None:
    parsed = address.parse(url)
    assert (parsed.scheme, parsed.path) == (scheme, path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a" * 3000,
        "repo",
        "../repo",
        "-oProxyCommand=x",
        "--upload-pack=touch /tmp/x",
        "ext::sh -c id",
        "fd::17",
        "git://example.org/a",
        "git@example.org:a/b",
        "ftp://example.org/a",
        "ssh://-oProxyCommand=x/a",
        "ssh://-x@example.org/a",
        "ssh://example.org/-x",
        "ssh://a@-b/c",
        "https://user:secret@example.org/a",
        "https://user:@example.org/a",
        "https://example.org",
        "https://example.org/",
        "https://example.org/a?b=c",
        "https://example.org/a#b",
        "https://example.org:99999/a",
        "https://example.org:0/a",
        "https://exa mple.org/a",
        "https://example.org\\@evil/a",
        "https://example.org/a\n",
        "https://example.org/%2e%2e/a",
        "https:///a",
        "https://[example.org]/a",
        "https://b\u00fccher.example/a",
        "http://169.254.169.254/latest",
        "http://169.254.169.254./latest",
        "http://2852039166/latest",
        "http://0xa9fea9fe/latest",
        "http://169.254.43518/latest",
        "http://0251.0376.0251.0376/latest",
        "http://[::ffff:169.254.169.254]/latest",
        "http://0.0.0.0/a",
        "http://[fe80::1]/a",
        "file://host/a",
        "file:a",
        "file:///a/../b",
        "/a/../b",
        "/a\x00b",
        "HTTPS://example.org/a",
    ],
)
def test_addresses_that_never_reach_git(url: str) -> None:
    with pytest.raises(RepositoryRefusedError):
        address.parse(url)


def test_files_can_be_switched_off() -> None:
    for url in ("/srv/a", "file:///srv/a"):
        with pytest.raises(RepositoryRefusedError, match="allow_file_repositories"):
            address.parse(url, allow_file=False)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        parsed = address.parse(text)
    except RepositoryRefusedError:
        return
    assert not parsed.url.startswith("-")
    assert parsed.url.isprintable()


@pytest.mark.parametrize("name", ["main", "feature/x", "swarm/TKT-001/a1", "v1.0", "a-b_c", "\u00fcber"])
def test_branch_names(name: str) -> None:
    assert refname.check_branch(name) == name
    assert refname.check_ref(f"refs/heads/{name}") == f"refs/heads/{name}"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-x",
        "--upload-pack=x",
        "a..b",
        "a/../b",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.lock",
        "a.lock/b",
        "a@{1}",
        "@",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[b",
        "a\\b",
        "a.",
        "a\x7f",
        "a\n",
        "refs/heads/x",
        "a" * 256,
        "a\u202eb",
    ],
)
def test_names_that_are_no_branches(name: str) -> None:
    with pytest.raises(RepositoryRefusedError):
        refname.check_branch(name)


@pytest.mark.parametrize("ref", ["main", "refs/tags/v1", "refs/heads/", "HEAD", "refs/heads/-x", "refs/heads/a b"])
def test_refs_that_are_no_branches(ref: str) -> None:
    with pytest.raises(RepositoryRefusedError):
        refname.check_ref(ref)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab/.@{}~^:?*[\\-lock \x7f", min_size=1, max_size=8))
def test_every_accepted_name_is_one_for_git(name: str) -> None:
    try:
        refname.check_branch(name)
    except RepositoryRefusedError:
        return
    subprocess.run(["git", "check-ref-format", "--branch", name], check=True, stdout=subprocess.DEVNULL)


def test_object_ids() -> None:
    assert refname.is_object("0" * 40)
    assert refname.is_object("f" * 64)
    for text in ("", "0" * 39, "g" * 40, "A" * 40, "0" * 41, "0" * 40 + "\n"):
        assert not refname.is_object(text)
        with pytest.raises(RepositoryRefusedError):
            refname.check_object(text)
