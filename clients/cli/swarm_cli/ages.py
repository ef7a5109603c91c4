"""Spans of time on the command line."""

from __future__ import annotations

import re
from typing import Any

import click

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"([0-9]{1,9})([smhd]?)")


class Age(click.ParamType[float]):
    """Seconds from a number with an optional unit: 30s, 10m, 2h, 1d."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = _SPAN.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is no span of time such as 30s, 10m, 2h or 1d", param, ctx)
        return float(int(found[1]) * _SECONDS[found[2] or "s"])


AGE = Age()
