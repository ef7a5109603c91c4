"""Makes a restored clone unlike its siblings, before anything of a ticket runs."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import random
import socket
import struct
import time
from typing import Any

_RNDADDENTROPY = 0x40085203
_RNDRESEEDCRNG = 0x5207
_BITS = 8


def apply(work: dict[str, Any]) -> None:
    """Take on what the broker says; each step stands for itself."""
    stir(base64.b64decode(work.get("entropy", "")))
    now = int(work.get("time_ns", 0))
    if now:
        time.clock_settime_ns(time.CLOCK_REALTIME, now)
    if work.get("machine_id"):
        _write("/etc/machine-id", work["machine_id"] + "\n")
    if work.get("hostname"):
        socket.sethostname(work["hostname"])
        _write("/etc/hostname", work["hostname"] + "\n")
        _write("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {work['hostname']}\n")


def stir(entropy: bytes) -> None:
    """Credit the kernel's pool, make its generator take it up at once, then reseed our own."""
    if entropy:
        with open("/dev/random", "wb", buffering=0) as pool:
            packed = struct.pack("ii", _BITS * len(entropy), len(entropy)) + entropy
            fcntl.ioctl(pool, _RNDADDENTROPY, packed)
            fcntl.ioctl(pool, _RNDRESEEDCRNG)
    random.seed(os.urandom(32))


def _write(path: str, text: str) -> None:
    with contextlib.suppress(OSError), open(path, "w") as file:
        file.write(text)
