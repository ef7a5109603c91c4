"""permessage-deflate (RFC 7692) without context from one message to the next, in either direction.

So one compressed message fits every socket, as one frame does, and no socket holds a window in memory.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

HEADER: Final = "Sec-WebSocket-Extensions"
NAME: Final = "permessage-deflate"
WINDOW_BITS: Final = 12  # of what is sent: events are smaller, and every peer has that much
MEMORY: Final = 5
SMALL_BYTES: Final = 200  # below, there is hardly anything to save
_TAIL: Final = b"\x00\x00\xff\xff"
_END: Final = b"\x01\x00\x00\xff\xff"  # a last block, without which zlib takes what is cut off
_LARGEST_WINDOW: Final = 15
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER: Final = re.compile(rf'\s*({_WORD})\s*(?:=\s*(?:({_WORD})|"({_WORD})")\s*)?')
_BITS: Final = re.compile(r"[89]|1[0-5]")


def agreed(offers: Iterable[str]) -> str:
    """What a server answers to the header's values; empty: none of the offers can be taken.

    The first that can be is. An offer with a parameter that is unknown, repeated or not well-formed is declined, and so
    is one of a window that is smaller than ours.
    """
    for parameters in _offered(",".join(offers)):
        if parameters is not None and _suits(parameters):
            bits = f"; server_max_window_bits={WINDOW_BITS}" if "server_max_window_bits" in parameters else ""
            return f"{NAME}; server_no_context_takeover; client_no_context_takeover{bits}"
    return ""


def _offered(header: str) -> Iterator[Mapping[str, str | None] | None]:
    """Parameters of each offer of this extension; None: it is not well-formed."""
    for extension in header.split(","):
        name, *rest = extension.split(";")
        if name.strip() == NAME:
            found = [_PARAMETER.fullmatch(each) for each in rest]
            values = {each[1]: each[2] or each[3] for each in found if each}
            yield values if len(values) == len(rest) else None


def _suits(parameters: Mapping[str, str | None]) -> bool:
    for name, value in parameters.items():
        match name:
            case "server_no_context_takeover" | "client_no_context_takeover":
                good = value is None
            case "server_max_window_bits":
                good = value is not None and bool(_BITS.fullmatch(value)) and int(value) >= WINDOW_BITS
            case "client_max_window_bits":
                good = value is None or bool(_BITS.fullmatch(value))
            case _:
                good = False
        if not good:
            return False
    return True


def deflated(payload: bytes) -> bytes:
    """A message as it goes over the wire."""
    pack = zlib.compressobj(wbits=-WINDOW_BITS, memLevel=MEMORY)
    return (pack.compress(payload) + pack.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


def inflated(packed: bytes, most: int) -> bytes:
    """A message as it was, of which no more than `most` bytes are made; `zlib.error` for what is none."""
    unpack = zlib.decompressobj(wbits=-_LARGEST_WINDOW)
    found = unpack.decompress(packed + _TAIL + _END, most)
    if not unpack.eof and len(found) < most:
        raise zlib.error("the message is cut off")
    return found
