"""Sealed memory images: copied, hashed and verified in one pass, then immutable and shared by every VM.

Sizes, offsets and lengths are bytes; sizes and ranges of a mapping are multiples of the page size.
"""

from collections.abc import Sequence
from typing import final

class ImageMismatch(ValueError):
    """The image is not what its manifest says: another size or another sha256."""

def seal(source: int, size: int, sha256: bytes) -> int:
    """Copy ``size`` bytes of a file into a memfd that nothing can alter any more. Returns the memfd.

    Zero pages stay holes. Exactly the copied bytes are hashed; ``ImageMismatch`` when size or digest differ.
    """

def digest(fd: int, size: int) -> bytes:
    """The sha256 of the first ``size`` bytes; ``ImageMismatch`` when there are fewer."""

def save(memfd: int, size: int, target: int) -> bytes:
    """Replace the content of file ``target`` by ``size`` bytes of ``memfd``, sparsely. Returns their sha256."""

@final
class Mapping:
    """A private read-only mapping of an image."""

    def __init__(self, fd: int, size: int) -> None: ...
    def populate(self, ranges: Sequence[tuple[int, int]]) -> int:
        """Fault in page-aligned ``(offset, length)`` ranges, one system call each. Returns the bytes populated."""

    def close(self) -> None:
        """Unmap; again is harmless."""

def working_set(pid: int, inode: int, size: int) -> list[tuple[int, int]]:
    """Merged, sorted ``(offset, length)`` ranges of the image that process ``pid`` has touched.

    The image is found in the process by the inode of its file. Neighbours that the kernel maps around a fault count.
    """

def private_bytes(pid: int, inode: int) -> int:
    """Bytes of the image that process ``pid`` has written and therefore holds as copies of its own."""
