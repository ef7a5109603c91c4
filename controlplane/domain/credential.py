"""Secrets that we give out: recognisable by prefix, and kept as hashes only."""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

RANDOM_CHARACTERS: Final = 32  # 190 bits
CHECK_CHARACTERS: Final = 6
API_KEY: Final = "swm_key_"
REFRESH: Final = "swm_refresh_"
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase


class Purpose(StrEnum):
    """What a one-time token is for."""

    CHALLENGE = "challenge"
    OAUTH_STATE = "oauth"
    RESET = "reset"
    SETUP = "setup"
    WS_TICKET = "ws"

    @property
    def prefix(self) -> str:
        return f"swm_{self.value}_"


@dataclass(frozen=True, slots=True)
class OneTimeToken:
    """Good once, for what `purpose` says, until `expires_at`. `subject` is whose it is, empty for nobody's."""

    digest: str
    purpose: Purpose
    subject: str
    expires_at: float
    data: str = field(default="", repr=False)


def new_secret(prefix: str) -> str:
    """A fresh secret with a checksum at its end."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return prefix + body + checksum(prefix + body)


def well_formed(text: str, prefix: str) -> bool:
    """Whether it may be one of ours; tells typing errors without a look at the database."""
    body, check = text[:-CHECK_CHARACTERS], text[-CHECK_CHARACTERS:]
    fits = len(text) == len(prefix) + RANDOM_CHARACTERS + CHECK_CHARACTERS and text.startswith(prefix)
    return fits and text.isascii() and check == checksum(body)


def checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECK_CHARACTERS):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def digest_of(secret: str) -> str:
    """Secrets of ours are random enough that a plain hash is as good as a slow one."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
