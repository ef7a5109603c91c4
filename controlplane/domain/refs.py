"""Ticket keys, and the names of the branches that belong to a ticket."""

from __future__ import annotations

import re
from typing import Final

from controlplane.errors import InvalidInput

_KEY: Final = re.compile(r"TKT-([0-9]{3,12})")
_HEAD: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def ticket_key(number: int) -> str:
    """TKT-001 for 1; four digits and more from 1000 on."""
    return f"TKT-{number:03d}"


def parse_key(text: str) -> int:
    """Number of a key as `ticket_key` writes it; InvalidInput for anything else."""
    match = _KEY.fullmatch(text)
    if match is None or ticket_key(int(match[1])) != text:
        raise InvalidInput(f"{text!r} is no ticket key such as TKT-001", reason="bad_key")
    return int(match[1])


def attempt_ref(key: str, fence: int) -> str:
    """The one ref that an attempt may push: unlike that of any other attempt, so a zombie can overwrite nothing."""
    return f"refs/heads/swarm/{key}/a{fence}"


def pr_ref(key: str) -> str:
    """What the ticket's pull request shows; moved by the control plane only."""
    return f"refs/heads/swarm/{key}/pr"


def base_ref(key: str) -> str:
    """The merged heads of several dependencies."""
    return f"refs/heads/swarm/{key}/base"


def branch(ref: str) -> str:
    """Branch name of a full ref."""
    return ref.removeprefix("refs/heads/")


def is_object_id(text: str) -> bool:
    """Whether it is a full SHA-1 or SHA-256 object id in lower-case hex."""
    return _HEAD.fullmatch(text) is not None
