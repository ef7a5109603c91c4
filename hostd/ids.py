"""Identifiers: a type prefix and 26 characters, 48 bits of time and 80 of randomness, so that they sort by age."""

from __future__ import annotations

import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new(prefix: str) -> str:
    """Such as ``vm_01k9w3…``."""
    value = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    return prefix + "_" + "".join(ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))
