"""Pictures of people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

SIDE: Final = 256  # pixels; what is kept is square
LARGEST_UPLOAD: Final = 2 << 20


@dataclass(frozen=True, slots=True)
class Avatar:
    """`image` was encoded here, whatever was uploaded."""

    image: bytes = field(repr=False)
    type: str
    updated_at: float
