"""The secret in a claim's git URL. It is derived from a key of this deployment, so that nothing keeps it anywhere."""

from __future__ import annotations

import base64
import hmac
from pathlib import Path
from typing import Final

from controlplane.accounts.tokens import make_missing, read

KEY_FILE: Final = "git.key"
PREFIX: Final = "swm_git_"


class ClaimSecrets:
    """Whether a claim still stands is not asked here. Removing the file ends every secret at the next start."""

    def __init__(self, state_dir: Path) -> None:
        """`StartError` when others can read the key."""
        make_missing(state_dir / KEY_FILE, "key")
        self._key = read(state_dir / KEY_FILE).encode()

    def of(self, attempt_id: str) -> str:
        """The secret of one claim, the same for each answer to the call that made it."""
        digest = hmac.digest(self._key, b"claim " + attempt_id.encode(errors="replace"), "sha256")
        return PREFIX + base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def fits(self, attempt_id: str, secret: str) -> bool:
        return hmac.compare_digest(self.of(attempt_id).encode(), secret.encode(errors="replace"))
