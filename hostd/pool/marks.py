"""Water marks: how many VMs to keep ready, as arithmetic on counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Marks:
    """Per template. Below `low` building begins, and goes on up to `high`.

    `ready` VMs are restored and paused (T0), `spawned` ones wait with an empty VMM (T1).
    """

    ready_low: int = 1
    ready_high: int = 2
    spawned_low: int = 1
    spawned_high: int = 1


@dataclass(frozen=True, slots=True)
class Stock:
    """What one template has; `building` counts towards `ready` first. `filling`: between the marks, on the way up."""

    ready: int = 0
    spawned: int = 0
    ready_building: int = 0
    spawned_building: int = 0
    ready_filling: bool = True
    spawned_filling: bool = True


@dataclass(frozen=True, slots=True)
class Order:
    """Build so many for one template."""

    ready: int = 0
    spawned: int = 0


def rising(count: int, low: int, high: int, *, filling: bool) -> bool:
    """Whether to go on building: from below `low` until `high`."""
    return count < low or (filling and count < high)


def orders(stocks: Mapping[Key, Stock], marks: Marks, room: int) -> dict[Key, Order]:
    """What to build so that no more than `room` VMs are added: ready ones first, one per template in turn."""
    wanted = {key: [_missing_ready(stock, marks), _missing_spawned(stock, marks)] for key, stock in stocks.items()}
    granted = {key: [0, 0] for key in stocks}
    for kind in (0, 1):
        while room > 0 and any(want[kind] for want in wanted.values()):
            for key, want in wanted.items():
                if want[kind] and room > 0:
                    want[kind] -= 1
                    granted[key][kind] += 1
                    room -= 1
    return {key: Order(*counts) for key, counts in granted.items() if any(counts)}


def _missing_ready(stock: Stock, marks: Marks) -> int:
    count = stock.ready + stock.ready_building
    up = rising(count, marks.ready_low, marks.ready_high, filling=stock.ready_filling)
    return marks.ready_high - count if up else 0


def _missing_spawned(stock: Stock, marks: Marks) -> int:
    count = stock.spawned + stock.spawned_building
    up = rising(count, marks.spawned_low, marks.spawned_high, filling=stock.spawned_filling)
    return marks.spawned_high - count if up else 0


def resolve(asked: int, default: int, step: int) -> int:
    """A size rounded up to whole steps, so that similar wishes share a template; zero asks for the default."""
    value = asked or default
    return -(-value // step) * step
