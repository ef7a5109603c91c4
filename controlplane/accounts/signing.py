"""Keys that sign access tokens: Ed25519, one file each in the state directory, the newest signs, older ones verify."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from controlplane.domain import lifetimes
from controlplane.errors import StartError
from controlplane.keyfile import create, expect_private

FOLDER: Final = "signing"
SUFFIX: Final = ".pem"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`kid` begins with the second in which it was made, so that names sort by age."""

    kid: str
    made_at: float
    private: Ed25519PrivateKey

    @property
    def public(self) -> Ed25519PublicKey:
        return self.private.public_key()


class SigningKeys:
    """The keys of one state directory. `rotate` makes the next one and drops what no token can be signed with."""

    def __init__(self, state_dir: Path) -> None:
        """`StartError` for a key that others can read, or that is none."""
        self._folder = state_dir / FOLDER
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._keys = {path.stem: loaded(path) for path in sorted(self._folder.glob(f"*{SUFFIX}"))}

    @property
    def newest(self) -> SigningKey:
        return self._keys[max(self._keys)]

    def find(self, kid: str) -> SigningKey | None:
        return self._keys.get(kid)

    def due(self, now: float) -> bool:
        return not self._keys or now - self.newest.made_at > lifetimes.SIGNING_KEY

    def rotate(self, now: float) -> None:
        """From now on a new key signs; the one before verifies until its last token has expired."""
        made = make(self._folder, now)
        self._keys[made.kid] = made
        for key in [*self._keys.values()]:
            successors = [each.made_at for each in self._keys.values() if each.made_at > key.made_at]
            if successors and min(successors) + lifetimes.ACCESS < now:
                del self._keys[key.kid]
                (self._folder / f"{key.kid}{SUFFIX}").unlink(missing_ok=True)
        log.info("access tokens are signed with a new key", extra={"kid": made.kid})


def make(folder: Path, now: float) -> SigningKey:
    """A new key in its file."""
    kid = f"{int(now):012d}-{secrets.token_hex(6)}"
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    create(folder / f"{kid}{SUFFIX}", pem)
    return SigningKey(kid, float(int(now)), private)


def loaded(path: Path) -> SigningKey:
    expect_private(path, path.stat())
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), None)
        made_at = float(path.stem.partition("-")[0])
    except (ValueError, TypeError) as fault:
        raise StartError(f"{path} holds no signing key; remove it") from fault
    if not isinstance(private, Ed25519PrivateKey):
        raise StartError(f"{path} holds no Ed25519 key; remove it")
    return SigningKey(path.stem, made_at, private)
