"""User ids for VMMs: one per VM, shared with no other process of the machine."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from hostd.errors import HostFullError

OFFSET = 16
"""Ids below it belong to the broker and its helpers."""
RANGE = 1024


class Uids:
    """Hands out ids from `base` + `OFFSET` upwards.

    Another hostd on this machine may have the same range: an id is claimed by an abstract socket name, and an id that
    some process still runs under is passed over.
    """

    def __init__(self, base: int) -> None:
        self._first = base + OFFSET
        self._claims: dict[int, socket.socket] = {}

    def claim(self) -> int:
        """`HostFullError` when all are taken."""
        used = in_use()
        for uid in range(self._first, self._first + RANGE):
            if uid not in used and self.hold(uid):
                return uid
        raise HostFullError("every user id for VMs is taken")

    def hold(self, uid: int) -> bool:
        """Claim this very id, for an adopted VM. False when somebody else has it."""
        if uid in self._claims:
            return False
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0swarm/uid/{uid}")
        except OSError:
            claim.close()
            return False
        self._claims[uid] = claim
        return True

    def release(self, uid: int) -> None:
        claim = self._claims.pop(uid, None)
        if claim is not None:
            claim.close()

    def close(self) -> None:
        for uid in list(self._claims):
            self.release(uid)


def in_use() -> set[int]:
    """User ids of all running processes."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found.add(path.stat().st_uid)
    return found
