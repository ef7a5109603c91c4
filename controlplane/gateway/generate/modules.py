"""The frame of a generated module: head, and imports of just what it uses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_P: Final = "controlplane.gateway.protojson."
_RUNTIME: Final[Mapping[str, tuple[str, ...]]] = {
    "collections.abc": ("Mapping", "Sequence"),
    "typing": ("Any",),
    "google.protobuf.message": ("Message",),
    _P + "binding": ("Binding", "Field", "Fields"),
    _P + "codec": ("Codec", "Codecs"),
    _P + "table": ("Enum", "Row"),
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
