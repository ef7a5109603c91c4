"""What is agreed on by RFC 7692, and that messages are what they were."""

from __future__ import annotations

import os
import zlib

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from controlplane.gateway.deflate import NAME, agreed, deflated, inflated

PLAIN = f"{NAME}; server_no_context_takeover; client_no_context_takeover"
WINDOW = f"{PLAIN}; server_max_window_bits=12"


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ([NAME], PLAIN),
        ([f"{NAME}; client_max_window_bits"], PLAIN),
        ([f"{NAME};client_max_window_bits=8"], PLAIN),
        ([f'{NAME} ; client_max_window_bits = "10" '], PLAIN),
        ([f"{NAME}; server_no_context_takeover; client_no_context_takeover"], PLAIN),
        ([f"{NAME}; server_max_window_bits=12; client_max_window_bits"], WINDOW),
        ([f"{NAME}; server_max_window_bits=15"], WINDOW),
        (["x-webkit-deflate-frame", NAME], PLAIN),
        ([f"{NAME}; mystery, {NAME}; server_max_window_bits=13"], WINDOW),
        ([f"{NAME}; server_max_window_bits=9", f"{NAME}; client_max_window_bits"], PLAIN),
    ],
)
def test_the_first_offer_that_suits_is_taken(offers: list[str], answer: str) -> None:
    assert agreed(offers) == answer


@pytest.mark.parametrize(
    "parameters",
    [
        "mystery",
        "mystery=1",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "client_max_window_bits=9; client_max_window_bits=9",
        "server_max_window_bits",
        "server_max_window_bits=",
        "server_max_window_bits=8",
        "server_max_window_bits=11",
        "server_max_window_bits=16",
        "server_max_window_bits=012",
        "server_max_window_bits=12.0",
        "server_max_window_bits=-12",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=ten",
        'client_max_window_bits="1',
        "client_max_window_bits=\N{ARABIC-INDIC DIGIT NINE}",
        "",
        ";",
        "=",
        "a b",
        "x" * 10_000,
    ],
)
def test_an_offer_that_breaks_the_rules_is_declined(parameters: str) -> None:
    assert not agreed([f"{NAME}; {parameters}"])


@pytest.mark.parametrize(
    "header", ["", ",", ";", "permessage-deflate2", "x-webkit-deflate-frame", '"permessage-deflate"']
)
def test_what_is_no_offer_is_none(header: str) -> None:
    assert not agreed([header])
    assert not agreed([])


@pytest.mark.parametrize("size", [0, 1, 200, 5000, 1 << 17])
def test_others_read_what_is_packed_in_a_window_of_twelve_bits(size: int) -> None:
    payload = (os.urandom(40).hex() * (size // 80 + 1)).encode()[:size]
    theirs = PerMessageDeflate(True, True, 12, 12)  # noqa: FBT003 - no context either way, 12 bits each
    for _ in range(2):
        found = theirs.decode(Frame(Opcode.TEXT, deflated(payload), rsv1=True))
        assert found.data == payload


@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_what_others_pack_is_read(bits: int, level: int) -> None:
    payload = os.urandom(100) * 300
    theirs = PerMessageDeflate(True, True, bits, bits, {"level": level})  # noqa: FBT003
    assert inflated(bytes(theirs.encode(Frame(Opcode.TEXT, payload)).data), 1 << 16) == payload


def test_a_last_block_may_be_marked_as_such() -> None:
    assert inflated(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 100) == b"Hello"  # RFC 7692, 7.2.3.5


def test_no_more_is_made_than_may_be() -> None:
    assert len(inflated(deflated(b"a" * (8 << 20)), 1 << 16)) == 1 << 16


def test_what_is_none_is_told() -> None:
    with pytest.raises(zlib.error):
        inflated(b"\xff" * 10, 100)
