from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostd.git import pktline
from hostd.git.commands import CommandError, Push, Update, objection, parse

A, B, ZERO = "a" * 40, "b" * 40, "0" * 40
REF = "refs/heads/swarm/TKT-1/a1"


@given(st.lists(st.binary(min_size=1, max_size=100)), st.binary(max_size=20))
def test_sections_come_out_as_they_went_in(lines: list[bytes], rest: bytes) -> None:
    data = b"".join(map(pktline.encode, lines)) + pktline.FLUSH + rest
    assert pktline.take_section(data) == (lines, len(data) - len(rest))


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1), st.data())
def test_a_cut_section_is_not_whole_yet(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(pktline.encode, lines)) + pktline.FLUSH
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert pktline.take_section(whole[:cut]) is None


@given(st.binary(max_size=60))
def test_any_bytes_are_lines_or_an_error(data: bytes) -> None:
    try:
        section = pktline.take_section(data)
        if section:
            parse(section[0])
    except (pktline.PktError, CommandError):
        pass


@given(st.binary(max_size=200_000))
def test_a_sideband_carries_any_bytes(data: bytes) -> None:
    section = pktline.take_section(pktline.sideband(2, data) + pktline.FLUSH)
    assert section is not None
    assert b"".join(line[1:] for line in section[0]) == data
    assert all(line[:1] == b"\2" for line in section[0])


@pytest.mark.parametrize("data", [b"0001", b"0002", b"0003", b"0004", b"ffff", b"+123", b" 123", b"12g4"])
def test_lengths_that_are_none(data: bytes) -> None:
    with pytest.raises(pktline.PktError):
        pktline.take_section(data)


def test_too_long_a_line() -> None:
    with pytest.raises(pktline.PktError):
        pktline.encode(bytes(65517))


def test_a_push_is_parsed() -> None:
    push = parse([f"{ZERO} {A} {REF}\0report-status side-band-64k\n".encode(), f"{A} {B} refs/tags/x".encode()])
    assert push.updates == (Update(ZERO, A, REF), Update(A, B, "refs/tags/x"))
    assert push.capabilities == {"report-status", "side-band-64k"}


@pytest.mark.parametrize(
    "line", [f"shallow {A}", f"push-cert\0{A}", f"{A} {REF}", f"{A} {B} ", f"{A[1:]} {B} {REF}", f"{A} {B} a b"]
)
def test_lines_that_are_no_commands(line: str) -> None:
    with pytest.raises(CommandError):
        parse([line.encode()])


@pytest.mark.parametrize(
    ("updates", "present", "word"),
    [
        ([Update(ZERO, A, REF)], "", ""),
        ([Update(A, B, REF)], A, ""),
        ([], "", "one ref"),
        ([Update(ZERO, A, REF), Update(ZERO, A, REF)], "", "one ref"),
        ([Update(ZERO, A, "refs/heads/main")], "", "the one ref"),
        ([Update(A, ZERO, REF)], A, "deleted"),
        ([Update(ZERO, B, REF)], A, "moved"),
        ([Update(A, B, REF)], "", "moved"),
    ],
)
def test_what_may_be_pushed(updates: list[Update], present: str, word: str) -> None:
    said = objection(Push(tuple(updates), frozenset()), REF, present)
    assert word in said
    assert bool(said) == bool(word)
