"""Events: facts about a topic, numbered per topic from 1 without gaps by the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class NewEvent:
    """`topic` such as "ticket:tk_...", `type` such as "ticket.state"; `also` is a second topic that gets it as well."""

    topic: str
    type: str
    data: Mapping[str, Any] = field(default_factory=dict)
    also: str = ""

    @property
    def topics(self) -> tuple[str, ...]:
        return (self.topic, self.also) if self.also else (self.topic,)


@dataclass(frozen=True, slots=True)
class Event:
    topic: str
    seq: int
    type: str
    time: float
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Effect:
    """A row of the outbox: something to do outside, at least once. `key` makes it visible once."""

    key: str
    kind: str
    payload: Mapping[str, Any]
