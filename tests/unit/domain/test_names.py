from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain.refs import attempt_ref, base_ref, branch, is_object_id, parse_key, pr_ref, ticket_key
from controlplane.domain.repository import branch_fault, check_branch, check_repository, repository_fault
from controlplane.errors import InvalidInput

GOOD_URLS = [
    "https://example.com/a/b.git",
    "http://127.0.0.1:8080/r",
    "http://[::1]:8080/r",
    "http://10.0.0.7/r",
    "ssh://git@example.com:2222/srv/r.git",
    "ssh://host_name/r",
    "/srv/git/r.git",
    "/home/jürgen/my repo",
    "file:///srv/git/r.git",
]
BAD_URLS = [
    "",
    "x" * 2049,
    "repo",
    "../repo",
    "git@example.com:a/b",
    "ext::sh -c id",
    "ext::ssh://host/x",
    "git://example.com/r",
    "ftp://example.com/r",
    "-oProxyCommand=id",
    "--upload-pack=id",
    "ssh://-oProxyCommand=id/r",
    "ssh://-x@example.com/r",
    "ssh://git:secret@example.com/r",
    "https://user:secret@example.com/r",
    "https://token@example.com/r",
    "https://example.com",
    "https://example.com/",
    "https://example.com/../r",
    "https://example.com/%2e%2e/r",
    "https://example.com/a%0ab",
    "https://example.com/-r",
    "https://example.com/r?x=1",
    "https://example.com/r#x",
    "https://example.com:0/r",
    "https://example.com:99999/r",
    "https://exa mple.com/r",
    "https://example.com/r\x00",
    "https://example.com/r\n",
    "https://example.com/\u202er",
    "https://ex\u0430mple.com/r",
    "http://[example.com]/r",
    "http://localhost./r",
    "http://169.254.169.254/latest",
    "http://[fe80::1]/r",
    "http://[::ffff:169.254.169.254]/r",
    "http://[fd00:ec2::254]/r",
    "http://metadata.google.internal/r",
    "http://100.100.100.200/r",
    "http://0.0.0.0/r",
    "http://0177.0.0.1/r",
    "http://0x7f.1/r",
    "http://2852039166/r",
    "http://224.0.0.1/r",
    "/srv/../etc",
    "/srv/r\n",
    "/",
    "file://host/srv/r",
    "file:///srv/%2e%2e/r",
    "\\\\server\\share",
]
GOOD_BRANCHES = ["main", "feature/x", "v1.2", "é", "a-b_c", "release@2"]
BAD_BRANCHES = [
    "",
    "-x",
    "--upload-pack=x",
    "refs/heads/x",
    "refs/../x",
    "a..b",
    "a.lock",
    "a.lock/b",
    "@",
    "HEAD",
    "a@{b",
    "a b",
    "a~b",
    "a^b",
    "a:b",
    "a?b",
    "a*b",
    "a[b",
    "a\\b",
    "/a",
    "a/",
    "a//b",
    ".a",
    "a/.b",
    "a.",
    "a\x00b",
    "a\nb",
    "a\x7fb",
    "a\u202eb",
    "x" * 256,
]


@pytest.mark.parametrize("url", GOOD_URLS)
def test_repositories_that_git_may_see(url: str) -> None:
    check_repository(url, allow_file=True)


@pytest.mark.parametrize("url", BAD_URLS)
def test_repositories_that_never_reach_git(url: str) -> None:
    with pytest.raises(InvalidInput) as error:
        check_repository(url, allow_file=True)
    assert error.value.reason == "bad_repository"
    assert "secret" not in error.value.message


@pytest.mark.parametrize("url", ["/srv/git/r.git", "file:///srv/git/r.git"])
def test_local_repositories_can_be_switched_off(url: str) -> None:
    assert "not allowed" in repository_fault(url, allow_file=False)


@pytest.mark.parametrize("name", GOOD_BRANCHES)
def test_branches_that_git_takes(name: str) -> None:
    check_branch(name)


@pytest.mark.parametrize("name", BAD_BRANCHES)
def test_branches_that_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as error:
        check_branch(name)
    assert error.value.reason == "bad_ref"


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab/.@{~-\\ lock"), max_size=8))
def test_whatever_passes_git_takes_as_a_branch(name: str) -> None:
    if not branch_fault(name):
        subprocess.run(["git", "check-ref-format", "--branch", name], check=True, capture_output=True)


@given(st.text(max_size=60))
def test_any_text_gets_an_answer(text: str) -> None:
    assert isinstance(repository_fault(text, allow_file=True), str)
    assert isinstance(branch_fault(text), str)


def test_names_of_a_ticket() -> None:
    assert [ticket_key(number) for number in (1, 42, 1000)] == ["TKT-001", "TKT-042", "TKT-1000"]
    assert attempt_ref("TKT-001", 3) == "refs/heads/swarm/TKT-001/a3"
    assert pr_ref("TKT-001") == "refs/heads/swarm/TKT-001/pr"
    assert branch(base_ref("TKT-001")) == "swarm/TKT-001/base"


@given(st.integers(1, 10**12 - 1))
def test_keys_read_back(number: int) -> None:
    assert parse_key(ticket_key(number)) == number


@pytest.mark.parametrize(
    "text", ["", "TKT-1", "TKT-0001", "tkt-001", "TKT-001 ", "TKT-001\n", "TKT-\u0660\u0660\u0661", "TKT--01"]
)
def test_other_texts_are_no_keys(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_key(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a" * 40, True), ("0" * 64, True), ("a" * 39, False), ("A" * 40, False), ("a" * 40 + "\n", False), ("", False)],
)
def test_object_ids(text: str, expected: bool) -> None:  # noqa: FBT001 - a table
    assert is_object_id(text) is expected
