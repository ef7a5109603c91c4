"""The frame of a generated module: head, and imports of just what it uses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_P: Final = "controlplane.gateway.protojson."
_RUNTIME: Final[Mapping[str, tuple[str, ...]]] = {
    "collections.abc": ("Mapping",),
    "typing": ("Any",),
    "google.protobuf.message": ("Message",),
    _P + "binding": ("Binding", "Field", "Fields"),
    _P + "codec": ("ABSENT", "AnyTypes", "Codec", "encoded"),
    _P + "collection": (
        "check_keys",
        "decode_message_map",
        "decode_messages",
        "decode_scalar_map",
        "decode_scalars",
        "decode_strings",
    ),
    _P + "faults": ("DEEPEST", "WRONG", "Faults", "step"),
    _P + "scalar": (
        *("BOOL", "BOOL_KEY", "base64_text", "boolean", "double", "double_text", "enum_closed", "enum_open", "integer"),
        *("key_boolean", "long_text", "null_text", "null_value", "octets", "quote", "single", "single_text", "string"),
    ),
    _P + "wellknown": tuple(
        f"{way}_{kind}"
        for way in ("decode", "encode")
        for kind in ("duration", "empty", "field_mask", "list", "struct", "timestamp", "value")
    ),
    "controlplane.gateway.route": ("Route",),
}


def module(source: str, body: str, local: Iterable[str] = ()) -> str:
    """A whole module; `local` are import lines of its neighbours."""
    words = set(re.findall(r"(?<![.\w\"])[A-Za-z_]\w*", body))
    imports = []
    for name, offered in _RUNTIME.items():
        if used := [word for word in offered if word in words]:
            imports.append(f"from {name} import {', '.join(used)}\n")
    lines = "".join([*imports, *(f"{line}\n" for line in local)])
    return f'"""Generated from {source}; do not edit."""\n\nfrom __future__ import annotations\n\n{lines}\n{body}'
