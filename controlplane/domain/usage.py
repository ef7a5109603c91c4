"""What agents say that they used, added up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

MOST: Final = 10**12  # of one number in one event; an agent may say anything
CACHED: Final = ("cache_creation_input_tokens", "cache_read_input_tokens")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the model counts them, those from its cache among the input; cost as the agent says it."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.input_tokens or self.output_tokens or self.cost_usd)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one day cost of one project and one user. `day` counts from 1970-01-01, UTC."""

    day: int
    tenant_id: str
    project_id: str
    user: str  # whom its tickets are assigned to
    tickets: int
    attempts: int
    vm_s: float
    used: Usage


def usage_of(events: Iterable[Mapping[str, Any]]) -> Usage:
    """The sum of the data of usage events; what is no number counts nothing."""
    tokens, output, cost = 0, 0, 0.0
    for data in events:
        tokens += sum(int(_number(data.get(name))) for name in ("input_tokens", *CACHED))
        output += int(_number(data.get("output_tokens")))
        cost += _number(data.get("cost_usd"))
    return Usage(tokens, output, cost)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return min(max(value, 0), MOST)
