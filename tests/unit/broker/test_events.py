from __future__ import annotations

import contextlib
import json
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from hostd.broker import caps, events
from hostd.broker.attempt import Attempt, Terms
from hostd.broker.events import parse_events, parse_outcome
from hostd.broker.http1 import Head
from hostd.broker.novelty import Novelty
from hostd.broker.refusal import Refusal
from hostd.broker.strictjson import loads
from hostd.broker.wire import Kind
from hostd.ports import Limits
from swarm.guest.v1 import guest_pb2

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_400(data: bytes) -> None:
    with contextlib.suppress(Refusal):
        assert isinstance(loads(data), dict)


@given(VALUES)
def test_what_is_accepted_survives_the_way_to_the_control_plane(value: Any) -> None:
    batch = {"events": [{"seq": 1, "type": "log", "data": {"value": value}}]}
    with contextlib.suppress(Refusal):
        parsed = parse_events(loads(json.dumps(batch).encode()))
        again = guest_pb2.EventBatch.FromString(parsed.SerializeToString())
        json_format.MessageToJson(again)
        assert again.events[0].type == "log"


@given(st.dictionaries(st.sampled_from(["status", "exit_code", "head", "summary", "phase", "x"]), VALUES))
def test_any_outcome_is_known_words_or_refused(value: dict[str, Any]) -> None:
    with contextlib.suppress(Refusal):
        assert parse_outcome(value).status in ("succeeded", "failed")


def test_camel_case_and_numbers_as_text_are_taken() -> None:
    batch = parse_events({"events": [{"seq": "7", "type": "usage", "timeNs": "5", "data": {"tokens": 3}}]})
    assert batch.events[0].time_ns == 5
    assert batch.events[0].data["tokens"] == 3


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '{"a": 1e400}', '{"a": -Infinity}', '{"a": "\\udfff"}', "[" * 9999, "3"]
)
def test_json_that_two_readers_could_read_differently(text: str) -> None:
    with pytest.raises(Refusal):
        loads(text.encode())


@pytest.mark.parametrize("number", [10**400, -(10**400)])
def test_a_number_beyond_every_format_is_a_400(number: int) -> None:
    batch = {"events": [{"seq": 1, "type": "log", "data": {"value": number}}]}
    with pytest.raises(Refusal) as caught:
        parse_events(loads(json.dumps(batch).encode()))
    assert caught.value.status == 400


async def test_a_log_without_end_is_cut_and_everything_else_still_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[guest_pb2.EventBatch] = []
    limits = Limits(logs_bytes=10_000)
    attempt = Attempt(
        0,
        Terms("at_1", {}, None, "", None, limits),
        {},
        lambda m: told.append(guest_pb2.EventBatch.FromString(m.payload)) if m.kind == Kind.EVENTS else None,
    )
    monkeypatch.setattr(caps, "LATE_BYTES", 1000)

    async def post(kind: str, seq: int) -> dict[str, Any]:
        data = json.dumps({"events": [{"seq": seq, "type": kind, "text": "x" * 400}]}).encode()
        connection = Mock(read_body=AsyncMock(return_value=data), reply_json=AsyncMock())
        head = Head("POST", "/v1/events", {}, {"content-type": "application/json"}, len(data))
        await events.post_events(attempt, connection, head)
        return dict(connection.reply_json.call_args.args[0])

    for seq in range(1, 100):
        assert await post("log", seq) == {"ack": str(seq)}
    kept = [event for batch in told for event in batch.events]
    assert len(kept) < 30
    assert [event.type for event in kept] == ["log"] * (len(kept) - 1) + ["log_capped"]
    assert "the log ends here" in kept[-1].text
    assert await post("question", 100) == {"ack": "100"}
    assert told[-1].events[0].type == "question"
    await post("question", 101)
    with pytest.raises(Refusal) as caught:
        await post("question", 102)
    assert caught.value.is_violation
    gap = attempt.caps.gap()
    assert gap is not None
    assert [(event.type, event.gap) for event in gap.events] == [("log", 99 - (len(kept) - 1))]


def batch_of(kind: str, count: int, text: str = "x") -> guest_pb2.EventBatch:
    return guest_pb2.EventBatch(events=[guest_pb2.GuestEvent(type=kind, text=text) for _ in range(count)])


def test_very_many_tiny_events_are_capped_by_their_number() -> None:
    bounds = caps.EventCaps(Limits(events=100))
    assert len(bounds.keep(batch_of("log", 100), 100).events) == 100
    assert [event.type for event in bounds.keep(batch_of("log", 50), 50).events] == ["log_capped"]
    assert not bounds.keep(batch_of("progress", 50), 50).events
    assert len(bounds.keep(batch_of("usage", 50), 50).events) == 50


def test_what_is_no_log_is_not_counted_as_log() -> None:
    bounds = caps.EventCaps(Limits(logs_bytes=1000))
    for _ in range(100):
        assert len(bounds.keep(batch_of("usage", 1, "x" * 100), 120).events) == 1
    assert bounds.gap() is None


def test_a_loop_of_lines_is_news_once_and_a_counter_always() -> None:
    novelty = Novelty()
    loop = [batch_of("log", 1, f"line {number}") for number in range(500)]
    assert all(novelty.any_new(batch.events) for batch in loop)
    assert not any(novelty.any_new(batch.events) for batch in loop * 2)
    assert novelty.any_new(batch_of("progress", 1, "line 1").events)
    assert novelty.any_new(batch_of("log", 1, "line 501").events)


def test_usage_is_news_when_its_numbers_change() -> None:
    novelty = Novelty()

    def usage(tokens: int) -> guest_pb2.EventBatch:
        return parse_events({"events": [{"seq": 1, "type": "usage", "data": {"tokens": tokens}}]})

    assert [novelty.any_new(usage(tokens).events) for tokens in (1, 1, 2, 2)] == [True, False, True, False]


@pytest.mark.parametrize("cause", ["agent_gave_up", "", "newer_cause"])
def test_an_outcome_may_name_a_cause(cause: str) -> None:
    assert parse_outcome({"status": "failed", "cause": cause}).cause == cause


@pytest.mark.parametrize("cause", ["Agent", "a" * 41, "a b", "x\n"])
def test_a_cause_is_a_plain_name(cause: str) -> None:
    with pytest.raises(Refusal):
        parse_outcome({"status": "failed", "cause": cause})
