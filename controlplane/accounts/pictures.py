"""Pictures of people: whatever is uploaded is decoded, cut to a square and encoded anew."""

from __future__ import annotations

import asyncio
import io
import warnings
from typing import Final

from PIL import Image, ImageOps

from controlplane.domain.avatar import SIDE
from controlplane.domain.user import refused
from controlplane.errors import InvalidInput

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
MOST_PIXELS: Final = 16_000_000  # 64 MB once decoded
QUALITY: Final = 85
TYPE: Final = "image/webp"
AT_ONCE: Final = 2
FIELD: Final = "/image"


class PillowPictures:
    """Implements notices.Pictures."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)

    async def square(self, content: bytes) -> tuple[bytes, str]:
        async with self._places:
            return await asyncio.to_thread(square, content), TYPE


def square(content: bytes) -> bytes:
    """WebP of the first picture; nothing is decoded before its size is known."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return _encode(_cut(content))
    except InvalidInput:
        raise
    # Decoders of hostile bytes raise nearly anything, and nothing of it is a fault of ours.
    except Exception as fault:  # noqa: BLE001
        raise refused(FIELD, f"is no picture that can be read: {type(fault).__name__}") from None


def _cut(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        width, height = picture.size
        if width * height > MOST_PIXELS:
            raise refused(FIELD, f"must have at most {MOST_PIXELS // 10**6} million pixels")
        picture.draft("RGB", (2 * SIDE, 2 * SIDE))  # JPEG is decoded no larger than it is needed
        upright = ImageOps.exif_transpose(picture)
        mode = "RGBA" if upright.has_transparency_data else "RGB"
        return ImageOps.fit(upright.convert(mode), (SIDE, SIDE), Image.Resampling.LANCZOS)


def _encode(picture: Image.Image) -> bytes:
    bare = Image.new(picture.mode, picture.size)
    bare.paste(picture)
    out = io.BytesIO()
    bare.save(out, format="WEBP", quality=QUALITY)
    return out.getvalue()
