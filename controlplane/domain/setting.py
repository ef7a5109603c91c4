"""What a deployment runs with, as people read it."""

from __future__ import annotations

from dataclasses import dataclass

ADMIN = "admin"  # the source of what was changed while it runs


@dataclass(frozen=True, slots=True)
class Setting:
    """`value` as on the command line, with passwords starred; `source` names where it was said."""

    name: str
    value: str
    source: str
    help: str
    changeable: bool = False
