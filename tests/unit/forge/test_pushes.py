from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.forge.pushes import (
    FLUSH,
    ZERO,
    Push,
    PushError,
    Update,
    advertisement,
    line,
    objection,
    parse,
    refusal,
)

OWN = "refs/heads/swarm/TKT-001/a1"
OLD, NEW = "a" * 40, "b" * 40


def section(*commands: tuple[str, str, str], capabilities: str = "report-status side-band-64k agent=git/2") -> bytes:
    lines = [f"{old} {new} {ref}" for old, new, ref in commands]
    first, *rest = lines
    return line(f"{first}\0{capabilities}".encode()) + b"".join(line(each.encode()) for each in rest) + FLUSH


def test_a_push_is_read_however_it_is_cut() -> None:
    whole = section((OLD, NEW, OWN), (ZERO, NEW, "refs/tags/v1"))
    for cut in range(len(whole)):
        assert parse(whole[:cut]) is None
    push = parse(whole + b"PACK" + b"\0" * 99)
    assert push is not None
    assert push.updates == (Update(OLD, NEW, OWN), Update(ZERO, NEW, "refs/tags/v1"))
    assert push.capabilities == {"report-status", "side-band-64k", "agent=git/2"}
    assert parse(FLUSH) == Push((), frozenset())


@pytest.mark.parametrize(
    "bad",
    [
        b"zzzz",
        b"0001",
        b"0004",
        b"ffff" + b"x" * 70000,
        line(b"shallow " + OLD.encode()) + FLUSH,
        line(b"push-cert\0report-status") + FLUSH,
        section((OLD.upper(), NEW, OWN)),
        section((OLD[:39], NEW, OWN)),
        section((OLD, NEW, "refs/heads/a b")),
        section((OLD, NEW, OWN), capabilities="atomic"),
        section((OLD, NEW, OWN), capabilities="push-options"),
        section((OLD, NEW, "r" * 1025)),
        line(f"{OLD} {NEW} {OWN}".encode()) + line(f"{OLD} {NEW} x\0late".encode()) + FLUSH,
    ],
)
def test_what_no_git_sends_is_refused(bad: bytes) -> None:
    with pytest.raises(PushError):
        parse(bad)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_push_or_refused(data: bytes) -> None:
    with contextlib.suppress(PushError):
        parse(data)


@pytest.mark.parametrize(
    ("updates", "why"),
    [
        ([(OLD, NEW, OWN)], ""),
        ([(OLD, ZERO, OWN)], "deleted"),
        ([(ZERO, NEW, OWN)], "moved"),
        ([("c" * 40, NEW, OWN)], "moved"),
        ([(OLD, NEW, "refs/heads/main")], "the one ref"),
        ([(OLD, NEW, OWN + "0")], "the one ref"),
        ([(OLD, NEW, "refs/tags/" + OWN)], "the one ref"),
        ([(OLD, NEW, OWN), (OLD, NEW, OWN)], "one ref per push"),
        ([(OLD, NEW, OWN), (ZERO, NEW, "refs/tags/x")], "one ref per push"),
    ],
)
def test_one_ref_moves_forward_and_nothing_else(updates: list[tuple[str, str, str]], why: str) -> None:
    push = parse(section(*updates))
    assert push is not None
    said = objection(push, OWN, OLD)
    assert why in said if why else said == ""


def test_a_refusal_is_a_report_that_git_understands() -> None:
    push = parse(section((OLD, NEW, OWN)))
    assert push is not None
    assert b"ng refs/heads/swarm/TKT-001/a1 because\n" in refusal(push, "because")
    plain = Push(push.updates, frozenset({"report-status"}))
    assert refusal(plain, "because").startswith(b"000eunpack ok\n")


def test_the_advertisement_names_one_ref() -> None:
    said = advertisement(OWN, OLD)
    assert said.count(b"refs/") == 1
    assert b"delete-refs" not in said
