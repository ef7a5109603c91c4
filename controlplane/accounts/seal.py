"""What the database may only know sealed: AES-256-GCM under a key in a file beside it."""

from __future__ import annotations

import base64
import hashlib
import secrets
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from controlplane.accounts.tokens import make_missing, read
from controlplane.errors import FailedPrecondition

KEY_FILE: Final = "accounts.key"
NONCE_BYTES: Final = 12


class FileSeal:
    """Implements identity.Seal."""

    def __init__(self, key: bytes) -> None:
        """`key` is any secret of high entropy."""
        self._cipher = AESGCM(hashlib.sha256(b"swarm accounts " + key).digest())

    @classmethod
    def at(cls, state_dir: Path) -> Self:
        """With the key of a state directory, made when it is new; `StartError` when others can read it."""
        make_missing(state_dir / KEY_FILE, "seal")
        return cls(read(state_dir / KEY_FILE).encode())

    def seal(self, text: str, context: str) -> str:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, text.encode(), context.encode())).decode()

    def open(self, sealed: str, context: str) -> str:
        raw = base64.b64decode(sealed)
        try:
            return self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], context.encode()).decode()
        except InvalidTag:
            words = "this was sealed with another key; put back accounts.key, or have an admin reset the user"
            raise FailedPrecondition(words, reason="sealed_with_another_key") from None
