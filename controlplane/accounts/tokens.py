"""Bearer tokens in files of the state directory: one for the admin, one per host.

The files hold the tokens for those who use them on this machine; the process keeps and compares hashes only. A file is
looked at again when it changes, so that removing or replacing it revokes its token within a second. Of a host that a
backup knew there may be `NAME.digest` instead, with the hash of the token that the host still has.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controlplane.domain.call import Principal, Role
from controlplane.errors import StartError, Unauthenticated
from controlplane.keyfile import create, expect_private

log = logging.getLogger(__name__)

ADMIN_FILE: Final = "admin.token"
HOSTS_FOLDER: Final = "hosts"
SUFFIX: Final = ".token"
DIGEST_SUFFIX: Final = ".digest"
HEADER: Final = "authorization"
LOOK_AGAIN_S: Final = 0.5
LONGEST_TOKEN: Final = 512
_HOST_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Known:
    """One accepted token; `mark` changes when its file does."""

    mark: tuple[int, int, int]
    digest: bytes
    principal: Principal


class Tokens:
    """`authenticate` is all that the pipeline needs of it."""

    def __init__(self, state_dir: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._state_dir = state_dir
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._looked_at = float("-inf")

    def ensure(self, hosts: tuple[str, ...] = ()) -> None:
        """Makes the tokens that are missing; `StartError` for a file that others can read, or that holds no token."""
        (self._state_dir / HOSTS_FOLDER).mkdir(mode=0o700, exist_ok=True)
        make_missing(self._state_dir / ADMIN_FILE, "adm")
        for name in hosts:
            check_name(name)
            make_missing(self._state_dir / HOSTS_FOLDER / f"{name}{SUFFIX}", "host")
        for path in self._files():
            digest_in(Path(path))

    def authenticate(self, metadata: Mapping[str, str]) -> Principal:
        """The principal of a bearer token; one answer for every way in which it can be wrong."""
        scheme, _, token = metadata.get(HEADER, "").partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(token) <= LONGEST_TOKEN:
            raise Unauthenticated("a bearer token is needed")
        self._look()
        digest = digest_of(token)
        found = [known.principal for known in self._known.values() if hmac.compare_digest(known.digest, digest)]
        if not found:
            raise Unauthenticated("the token is not known here")
        return found[0]

    def _files(self) -> Iterator[str]:
        """Plain strings: every call waits while these are looked at, and of a large fleet there are many."""
        yield str(self._state_dir / ADMIN_FILE)
        folder = str(self._state_dir / HOSTS_FOLDER)
        names = sorted(os.listdir(folder))  # noqa: PTH208
        yield from (f"{folder}/{name}" for name in names if name.endswith((SUFFIX, DIGEST_SUFFIX)))

    def _look(self) -> None:
        """Takes up files that came, changed or went."""
        now = self._clock()
        if now - self._looked_at < LOOK_AGAIN_S:
            return
        self._looked_at = now
        self._known = {path: known for path in self._files() if (known := self._current(path)) is not None}

    def _current(self, path: str) -> Known | None:
        try:
            status = os.stat(path)  # noqa: PTH116 - see _files
            mark = (status.st_ino, status.st_mtime_ns, status.st_mode)
            known = self._known.get(path)
            if known is not None and known.mark == mark:
                return known
            return Known(mark, digest_in(Path(path)), principal_of(Path(path)))
        except FileNotFoundError:
            return None
        except (StartError, OSError) as fault:
            log.warning("a token file is ignored", extra={"path": path, "reason": str(fault)})
            return None


def principal_of(path: Path) -> Principal:
    """Whom the token in a file stands for."""
    if path.name == ADMIN_FILE:
        return Principal("admin", Role.ADMIN)
    name = path.name.removesuffix(SUFFIX).removesuffix(DIGEST_SUFFIX)
    return Principal(f"host:{name}", Role.HOST, host_id=host_id(name))


def host_id(name: str) -> str:
    """The id of a host follows from its name, which is what its token was given to."""
    digest = hashlib.sha256(b"swarm host " + name.encode()).digest()
    return "hs_" + base64.b32hexencode(digest).decode().lower()[:26]


def check_name(name: str) -> None:
    if not _HOST_NAME.fullmatch(name):
        raise StartError(f"{name!r} is no host name: use lower-case letters, digits, '.', '_' and '-'")


def digest_of(token: str) -> bytes:
    """Tokens have 256 random bits, so that a plain hash is enough."""
    return hashlib.sha256(token.encode()).digest()


def digest_in(path: Path) -> bytes:
    """The hash of a token, from a file with either of them."""
    content = read(path)
    if path.suffix != DIGEST_SUFFIX:
        return digest_of(content)
    try:
        return bytes.fromhex(content)
    except ValueError:
        raise StartError(f"{path} holds no hash of a token; remove it") from None


def host_digests(state_dir: Path) -> dict[str, str]:
    """Hashes in hex of the tokens that hosts have, by the name of the host."""
    folder = state_dir / HOSTS_FOLDER
    found = {path.name.removesuffix(path.suffix): digest_in(path).hex() for path in folder.glob(f"*{DIGEST_SUFFIX}")}
    return found | {path.name.removesuffix(SUFFIX): digest_in(path).hex() for path in folder.glob(f"*{SUFFIX}")}


def make_missing(path: Path, kind: str) -> None:
    """Writes a new token unless the file is there."""
    if not path.exists():
        create(path, f"swm_{kind}_{secrets.token_urlsafe(32)}\n".encode())


def read(path: Path) -> str:
    """The token in a file that only its owner can read."""
    with path.open(encoding="ascii", errors="replace") as file:
        facts = os.fstat(file.fileno())
        expect_private(path, facts)
        if facts.st_uid not in {os.geteuid(), 0}:
            raise StartError(f"{path} belongs to another user, who knows it; remove it to have a new one made")
        token = file.read(LONGEST_TOKEN + 1).strip()
    if not token or len(token) > LONGEST_TOKEN:
        raise StartError(f"{path} holds no token; remove it to have a new one made")
    return token
