"""Registered agents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Agent:
    """`digest` is the sha256 (hex) of the bundle; `command` is argv within its folder, empty for an external agent.

    It cannot work without its `upstreams`; see `domain.circuit`.
    Tickets of an external agent run on no host: programs with a sandbox of their own claim them.
    """

    name: str
    version: str
    description: str
    image: str
    command: tuple[str, ...]
    input_schema: Mapping[str, Any]
    digest: str
    built_in: bool
    published_at: float
    external: bool = False
    upstreams: tuple[str, ...] = ()
    tenant_id: str = ""  # whose it is; empty: everybody's
