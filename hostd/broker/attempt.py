"""What the broker knows of one attempt, and what it tells hostd about it."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostd.broker.answers import Answers
from hostd.broker.bucket import Bucket
from hostd.broker.caps import EventCaps
from hostd.broker.novelty import Novelty
from hostd.broker.refusal import Refusal
from hostd.broker.wire import Kind, Message
from hostd.ports import Limits
from swarm.guest.v1 import guest_pb2

_REQUESTS_PER_S = 200
_EVENTS_PER_S = 4000
_DENIALS = 100
_GIT_AT_ONCE = 4
_PROGRESS_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Terms:
    """The capability as hostd handed it over."""

    attempt_id: str
    work: Mapping[str, Any]
    staging: Path | None
    push_ref: str
    artifacts: Path | None
    limits: Limits

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Terms:
        """From the JSON of an ATTACH message."""
        staging, artifacts = fields["staging"], fields["artifacts"]
        return cls(
            fields["attempt_id"],
            fields["work"],
            Path(staging) if staging else None,
            fields["push_ref"],
            Path(artifacts) if artifacts else None,
            Limits(**fields["limits"]),
        )


class Attempt:
    """State lives as long as the capability; a restarted broker begins with a fresh one."""

    def __init__(self, slot: int, terms: Terms, bundles: dict[str, int], tell: Callable[[Message], None]) -> None:
        self.terms = terms
        self.slot = slot
        self.bundles = bundles
        self.finished = False
        self.caps = EventCaps(terms.limits)
        self.artifact_bytes = 0
        self.artifact_files = 0
        self.received_bytes = 0
        self.answers = Answers()
        self.pushes: dict[str, asyncio.Future[bool]] = {}
        self.receiving = asyncio.Lock()
        self.git = asyncio.Semaphore(_GIT_AT_ONCE)
        self.first_byte_ns = 0
        self._agent_seen = False
        self._novelty = Novelty()
        self._progress_at = -math.inf
        self._questions = 0
        self._asked = False
        self._tell = tell
        self._violations = 0
        self._denials = 0
        self._requests = Bucket(_REQUESTS_PER_S)
        self._events = Bucket(_EVENTS_PER_S)
        self._event_bytes = Bucket(terms.limits.events_bytes_per_s)

    def tell(self, kind: Kind, payload: bytes = b"", value: int = 0) -> None:
        """Send hostd a message about this attempt."""
        self._tell(Message(kind, self.slot, value, payload))

    def close(self) -> None:
        """Release what it holds; whoever waits for a push learns that there will be none."""
        while self.bundles:
            os.close(self.bundles.popitem()[1])
        for push in self.pushes.values():
            push.cancel()

    def saw_first_byte(self, monotonic_ns: int) -> None:
        """Told once."""
        if not self.first_byte_ns:
            self.first_byte_ns = monotonic_ns
            self.tell(Kind.FIRST_BYTE, value=monotonic_ns)

    def saw_agent(self) -> None:
        """Told once."""
        if not self._agent_seen:
            self._agent_seen = True
            self.tell(Kind.AGENT_STARTED, value=time.monotonic_ns())

    def observe(self, events: Sequence[guest_pb2.GuestEvent]) -> None:
        """Look for progress in what the agent says; a question makes it a person's turn."""
        questions = sum(event.type == "question" for event in events)
        self._questions += questions
        if self._novelty.any_new(events):
            self.progressed(at_once=questions > 0)

    def progressed(self, *, at_once: bool = False) -> None:
        """Tell that there was progress, but not for every line of it."""
        now = time.monotonic()
        if at_once or now - self._progress_at >= _PROGRESS_EVERY_S:
            self._progress_at = now
            self.tell(Kind.PROGRESS, value=int(self._questions > 0 or self.answers.awaited))

    def answer(self, number: int, text: str) -> None:
        """A person's answer to question `number`: it is the guest's turn again."""
        self.answers.add(number, text)
        self._questions = max(0, self._questions - 1)
        self.progressed(at_once=True)

    def ask(self) -> None:
        """Tell of the next sign of life."""
        self._asked = True

    def saw_life(self) -> None:
        """Whatever the guest does counts. Told once after each `ask`, so that a busy guest floods nobody."""
        if self._asked:
            self._asked = False
            self.tell(Kind.ALIVE, value=time.monotonic_ns())

    def admit_request(self) -> None:
        """Refuses what comes too fast."""
        if not self._requests.take(1):
            raise Refusal(429, f"more than {_REQUESTS_PER_S} requests per second")

    def admit_events(self, count: int, size: int) -> None:
        """Refuses a batch that comes too fast."""
        if not self._events.take(count) or not self._event_bytes.take(size):
            raise Refusal(429, "events come too fast")

    def note(self, refusal: Refusal) -> None:
        """Count a refusal and report what was denied; the last straw is reported as a violation."""
        if refusal.rule and self._denials < _DENIALS:
            self._denials += 1
            call = f"{refusal.rule}, {refusal.target}"
            self.tell(Kind.BLOCKED, call.encode(errors="replace"))
            self.tell(Kind.EVENTS, _blocked_event(call))
        if refusal.is_violation:
            self._violations += 1
            if self._violations == self.terms.limits.violations:
                self.tell(Kind.VIOLATION, f"{self._violations} refused requests; the last: {refusal.message}".encode())

    def settle_push(self, head: str, *, taken: bool) -> None:
        """Tell whoever waits for the upstream push of `head`."""
        waiting = self.pushes.get(head)
        if waiting is not None and not waiting.done():
            waiting.set_result(taken)


def _blocked_event(call: str) -> bytes:
    event = guest_pb2.GuestEvent(type="blocked", text=call, time_ns=time.time_ns())
    return guest_pb2.EventBatch(events=[event]).SerializeToString()
