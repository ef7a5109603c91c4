"""Page tokens: where a list goes on, sealed so that only tokens of the same list are taken."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.errors import InvalidInput, Violation

SEAL_BYTES = 12
DEFAULT_SIZE = 100
MAX_SIZE = 1000

Position = str | int | float | Sequence[str | int | float]


@dataclass(frozen=True, slots=True)
class Tokens:
    """`secret` belongs to the database, so that a token outlives a restart and no other database takes it."""

    secret: bytes

    def make(self, scope: str, position: Position) -> str:
        """`scope` names the list with its filters; `position` is the sort key of the last row given."""
        body = json.dumps(position).encode()
        return base64.urlsafe_b64encode(self._seal(scope, body) + body).decode().rstrip("=")

    def read(self, scope: str, token: str) -> Position:
        """Raise InvalidInput for a token that this list never gave."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        seal, body = raw[:SEAL_BYTES], raw[SEAL_BYTES:]
        if not body or not hmac.compare_digest(seal, self._seal(scope, body)):
            message = "this token does not belong to this list with these filters"
            raise InvalidInput(message, reason="invalid_page_token", violations=(Violation("/page_token", message),))
        position: Position = json.loads(body)
        return position

    def _seal(self, scope: str, body: bytes) -> bytes:
        scoped = hashlib.sha256(scope.encode()).digest()
        return hmac.digest(self.secret, scoped + body, "sha256")[:SEAL_BYTES]


def page_size(asked: int) -> int:
    """Raise InvalidInput outside 0..1000; 0 means the default."""
    if not 0 <= asked <= MAX_SIZE:
        message = f"must lie between 0 and {MAX_SIZE}"
        raise InvalidInput(f"page_size {message}", violations=(Violation("/page_size", message),))
    return asked or DEFAULT_SIZE
