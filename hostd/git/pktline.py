"""git's packet lines: four hex digits of length, then that many bytes less four. Pure."""

from __future__ import annotations

FLUSH = b"0000"
_LONGEST = 65520
_HEADER = 4
_DIGITS = frozenset(b"0123456789abcdefABCDEF")


class PktError(ValueError):
    """Bytes that are no packet line."""


def encode(payload: bytes) -> bytes:
    """One line; at most 65516 bytes."""
    if len(payload) > _LONGEST - _HEADER:
        raise PktError("packet line too long")
    return b"%04x%b" % (len(payload) + _HEADER, payload)


def sideband(channel: int, data: bytes) -> bytes:
    """Any number of bytes as lines of channel 1 (data), 2 (progress) or 3 (fatal error)."""
    step = _LONGEST - _HEADER - 1
    return b"".join(encode(bytes([channel]) + data[at : at + step]) for at in range(0, len(data), step))


def take(buffer: bytes, at: int) -> tuple[bytes | None, int] | None:
    """The line at offset `at` (None for a flush) and the offset behind it; None when it is not whole yet."""
    header = buffer[at : at + _HEADER]
    if not _DIGITS.issuperset(header):
        raise PktError("length of a packet line is not hex")
    if len(header) < _HEADER:
        return None
    length = int(header, 16)
    if length == 0:
        return None, at + _HEADER
    if not _HEADER < length <= _LONGEST:
        raise PktError("length of a packet line out of range")
    if len(buffer) < at + length:
        return None
    return buffer[at + _HEADER : at + length], at + length


def take_section(buffer: bytes) -> tuple[list[bytes], int] | None:
    """All lines up to the first flush and the offset behind it; None when the flush has not come yet."""
    lines: list[bytes] = []
    at = 0
    while taken := take(buffer, at):
        line, at = taken
        if line is None:
            return lines, at
        lines.append(line)
    return None
