"""JSON that people give on the command line, or name a file for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from swarm_sdk.errors import InvalidArgumentError


def read_json(source: str, option: str, *, kind: type = dict) -> Any:
    """The value in `source`, or in the file that `@FILE` names; `InvalidArgumentError` when it is of another kind."""
    try:
        words = Path(source[1:]).read_text(encoding="utf-8") if source.startswith("@") else source
        value = json.loads(words)
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{option}: {error}") from None
    if not isinstance(value, kind):
        raise InvalidArgumentError(f"{option}: a JSON {'object' if kind is dict else 'list'} is expected")
    return value
