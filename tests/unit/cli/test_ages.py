from __future__ import annotations

import click
import pytest

from swarm_cli.ages import AGE


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("30", 30), ("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86400)]
)
def test_spans_of_time(text: str, seconds: float) -> None:
    assert AGE.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1s", "1.5h", "10 m", "10w", "1e3", "9" * 10, "\u0661s"])
def test_what_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="such as 30s"):
        AGE.convert(text, None, None)
