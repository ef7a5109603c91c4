"""POST /v1/events and /v1/result: JSON of a guest, checked and turned into the messages that hostd relays unread."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from hostd.broker.attempt import Attempt
from hostd.broker.connection import Connection
from hostd.broker.http1 import Head
from hostd.broker.refs import accepted_head
from hostd.broker.refusal import Refusal
from hostd.broker.strictjson import loads
from hostd.broker.wire import Kind
from swarm.guest.v1 import guest_pb2

EVENTS_BODY_LIMIT = 1 << 20
BATCH_BYTES_LIMIT = 512 << 10
BATCH_LIMIT = 256
TEXT_LIMIT = 8 << 10
RESULT_BODY_LIMIT = 64 << 10
_TYPES = frozenset(("log", "progress", "question", "usage", "artifact", "output", "phase", "step"))
_PHASES = frozenset(("", "prepare", "agent", "tests", "push"))
_CAUSE = re.compile(r"[a-z_]{0,40}")
_NO_HEAD = b" " * 40
_M = TypeVar("_M", bound=Message)


async def post_events(attempt: Attempt, connection: Connection, head: Head) -> None:
    """A batch, acknowledged by the number of its last event."""
    batch = parse_events(await read_json(connection, head, EVENTS_BODY_LIMIT))
    if attempt.finished:
        raise Refusal(409, "the attempt is finished")
    encoded = batch.SerializeToString()
    if len(encoded) > BATCH_BYTES_LIMIT:
        raise Refusal(413, f"the batch is longer than {BATCH_BYTES_LIMIT} bytes")
    attempt.admit_events(len(batch.events), len(encoded))
    _tell(attempt, batch, encoded)
    if any(event.type == "phase" and event.text == "agent" for event in batch.events):
        attempt.saw_agent()
    await connection.reply_json({"ack": str(batch.events[-1].seq)})


def _tell(attempt: Attempt, batch: guest_pb2.EventBatch, encoded: bytes) -> None:
    """Pass a batch on; once there was too much, without what can be done without."""
    kept = attempt.caps.keep(batch, len(encoded))
    attempt.observe(batch.events)
    if kept.events:
        logs = len(kept.events) if all(event.type == "log" for event in kept.events) else 0
        attempt.tell(Kind.EVENTS, encoded if kept is batch else kept.SerializeToString(), value=logs)


def parse_events(value: dict[str, Any]) -> guest_pb2.EventBatch:
    """A batch of 1 to 256 events with rising numbers."""
    batch = _parse(value, guest_pb2.EventBatch())
    if not 0 < len(batch.events) <= BATCH_LIMIT:
        raise Refusal(400, f"/events: 1 to {BATCH_LIMIT} are allowed")
    last = 0
    for index, event in enumerate(batch.events):
        if event.seq <= last:
            raise Refusal(400, f"/events/{index}/seq: numbers rise from 1")
        if event.type not in _TYPES:
            raise Refusal(400, f"/events/{index}/type: one of {', '.join(sorted(_TYPES))}")
        if len(event.text.encode()) > TEXT_LIMIT:
            raise Refusal(413, f"/events/{index}/text: longer than {TEXT_LIMIT} bytes")
        last = event.seq
    return batch


async def post_result(attempt: Attempt, connection: Connection, head: Head) -> None:
    """The outcome. A head that it names is the one that was pushed."""
    outcome = parse_outcome(await read_json(connection, head, RESULT_BODY_LIMIT))
    if outcome.head and outcome.head != await accepted_head(attempt.terms):
        raise Refusal(409, "/head: not the commit that was pushed")
    attempt.finished = True
    if gap := attempt.caps.gap():
        attempt.tell(Kind.EVENTS, gap.SerializeToString(), value=1)
    payload = (outcome.head.encode() or _NO_HEAD) + outcome.SerializeToString()
    attempt.tell(Kind.OUTCOME, payload, value=int(outcome.status == "succeeded"))
    await connection.reply_json({})


def parse_outcome(value: dict[str, Any]) -> guest_pb2.Outcome:
    """An outcome whose words are known ones."""
    outcome = _parse(value, guest_pb2.Outcome())
    if outcome.status not in ("succeeded", "failed"):
        raise Refusal(400, "/status: succeeded or failed")
    if outcome.phase not in _PHASES:
        raise Refusal(400, "/phase: prepare, agent, tests, push or nothing")
    if not _CAUSE.fullmatch(outcome.cause):
        raise Refusal(400, "/cause: the name of a cause")
    if len(outcome.summary.encode()) > TEXT_LIMIT:
        raise Refusal(413, f"/summary: longer than {TEXT_LIMIT} bytes")
    return outcome


async def read_json(connection: Connection, head: Head, limit: int) -> dict[str, Any]:
    """The body of a request as a JSON object."""
    if head.length == 0:
        raise Refusal(411, "a body is expected")
    if head.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "the body is application/json")
    if "content-encoding" in head.headers:
        raise Refusal(415, "the body has no Content-Encoding")
    return loads(await connection.read_body(head, limit))


def _parse(value: dict[str, Any], into: _M) -> _M:
    try:
        return json_format.ParseDict(value, into)
    except (json_format.ParseError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Refusal(400, f"JSON: {str(error)[:200]}") from None
