"""What the stored events are called on WebSockets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from controlplane.domain.event import Event
from controlplane.gateway import frames
from controlplane.gateway.frames import Frame

# By type as it is stored; whatever else happens to a ticket is a ticketUpdate.
NAMES: Final[Mapping[str, str]] = {
    "agent.log": "agentLog",
    "agent.log_capped": "agentLog",
    "agent.progress": "buildProgress",
    "notification.created": "notification",
    "notification.read": "notification",
}
TICKET: Final = "ticketUpdate"
VM: Final = "vmUpdate"


def frame_of(room: str, event: Event) -> Frame:
    """`{"type", "room", "seq", "time", "event", "data"}`: `event` is the type as it is stored."""
    message = {
        "type": NAMES.get(event.type, TICKET),
        "room": room,
        "seq": event.seq,
        "time": moment(event.time),
        "event": event.type,
        "data": dict(event.data),
    }
    return Frame(event.seq, frames.encoded(message))


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
