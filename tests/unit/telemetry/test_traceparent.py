from __future__ import annotations

import pytest

from telemetry.traceparent import LONGEST, Trace, begin, parse, received

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_a_trace_goes_on_as_a_piece_of_its_own() -> None:
    assert str(parse(GOOD)) == GOOD
    here = received(GOOD)
    assert (here.trace_id, here.flags) == (TRACE, "01")
    assert here.span_id != SPAN
    assert parse(str(here)) == here


@pytest.mark.parametrize("text", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-00-what-the-future-will-bring"])
def test_later_versions_are_taken_as_far_as_they_are_known(text: str) -> None:
    assert parse(text) == Trace(TRACE, SPAN, text.split("-")[3])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}g-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"0x-{TRACE}-{SPAN}-01",
        f" {GOOD}",
        f"{GOOD}\n",
        f"{GOOD}, {GOOD}",
        f"01-{TRACE}-{SPAN}-01-{'x' * LONGEST}",
        GOOD.replace("0", "０"),  # noqa: RUF001 - a digit to `isdigit`
    ],
)
def test_what_is_no_trace_is_ignored_and_a_new_one_begins(text: str) -> None:
    assert parse(text) is None
    one, other = received(text), begin()
    assert parse(str(one)) == one
    assert TRACE not in {one.trace_id, other.trace_id}
    assert one.trace_id != other.trace_id
