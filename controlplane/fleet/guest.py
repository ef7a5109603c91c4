"""What an agent wrote, relayed unread by its host: the one place where bytes of a guest are parsed.

Everything is capped and checked; what breaks a rule becomes `Hostile`, never a trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError

from controlplane.api.convert.common import json_in
from controlplane.errors import InvalidInput
from controlplane.usecases.placement import AgentEvent
from swarm.guest.v1 import guest_pb2 as pb

MOST_BYTES: Final = 1 << 20
MOST_EVENTS: Final = 1000
LONGEST_TEXT: Final = 8192
MOST_DATA: Final = 64 * 1024
KINDS: Final = frozenset(
    {"log", "progress", "question", "usage", "artifact", "output", "phase", "step", "blocked", "log_capped"}
)
PHASES: Final = frozenset({"prepare", "agent", "tests", "push"})
# Far enough that no clock is there by honest means, and near enough for every time format.
LATEST_NS: Final = 253_402_300_799 * 1_000_000_000


class Hostile(Exception):  # it names what the bytes are
    """The bytes are not what a guest may send."""


def events(batch: bytes) -> Sequence[AgentEvent]:
    """Events of an encoded EventBatch; those of unknown kinds are left out."""
    message = pb.EventBatch()
    decode(message, batch)
    if len(message.events) > MOST_EVENTS:
        raise Hostile(f"{len(message.events)} events in one batch")
    return [event(each) for each in message.events if each.type in KINDS]


def event(message: pb.GuestEvent) -> AgentEvent:
    when = message.time_ns if 0 < message.time_ns <= LATEST_NS else 0
    return AgentEvent(
        seq=message.seq,
        type=message.type,
        text=clean(message.text),
        data=data_of(message),
        time=when / 1e9,
        gap=message.gap,
    )


def data_of(message: pb.GuestEvent) -> dict[str, Any]:
    if message.data.ByteSize() > MOST_DATA:
        raise Hostile("the data of an event is too large")
    try:
        return json_in(message.data, "/data")
    except InvalidInput as fault:
        raise Hostile(fault.message) from None


def outcome(data: bytes) -> pb.Outcome:
    """An encoded Outcome whose fields make sense."""
    message = pb.Outcome()
    decode(message, data)
    if message.status not in {"succeeded", "failed"}:
        raise Hostile("the outcome has no known status")
    if message.phase and message.phase not in PHASES:
        raise Hostile("the outcome has no known phase")
    message.summary = clean(message.summary)
    return message


def decode(message: pb.EventBatch | pb.Outcome, data: bytes) -> None:
    if len(data) > MOST_BYTES:
        raise Hostile(f"{len(data)} bytes in one piece")
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise Hostile("the bytes are no message") from None


def clean(text: str) -> str:
    """Text without NUL, which stores and terminals do not take, cut to what a line may have."""
    return text[:LONGEST_TEXT].replace("\0", "\ufffd")
