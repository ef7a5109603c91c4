"""Codes of authenticator apps (RFC 6238: SHA-1, six digits, 30 seconds), with one step of grace to either side."""

from __future__ import annotations

import re
from typing import Final

import pyotp

STEP_S: Final = 30
WINDOW: Final = (0, -1, 1)
ISSUER: Final = "Swarm"
_CODE: Final = re.compile(r"[0-9]{6}")


class TotpCodes:
    """Implements identity.Codes."""

    def new_secret(self) -> str:
        return pyotp.random_base32()

    def uri(self, secret: str, email: str) -> str:
        return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=ISSUER)

    def step(self, secret: str, code: str, now: float) -> int | None:
        """None for a wrong code. Which steps were used before is the store's to know."""
        if not _CODE.fullmatch(code):
            return None
        otp, present = pyotp.TOTP(secret), int(now) // STEP_S
        fitting = [present + off for off in WINDOW if pyotp.utils.strings_equal(otp.generate_otp(present + off), code)]
        return max(fitting, default=None)
