"""Keeps mirrors small: packed, and within a budget of disk. Git runs as the mirrors' owner, never as root."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Final

from hostd import caches
from hostd.git.command import GitError, User, git, run
from hostd.ports import CleanupCounts

_log = logging.getLogger(__name__)

MOST_PACKS: Final = 20
MOST_LOOSE: Final = 4096
REPACKS: Final = 1
"""Mirrors that one cleanup packs; the next one goes on."""
PRUNE: Final = "2.weeks.ago"
"""Younger objects without a ref may be the base of an attempt."""
_TIMEOUT_S: Final = 600


async def evict(folder: Path, in_use: Collection[Path], budget_mib: int) -> CleanupCounts:
    """Evict what is beyond the budget of the mirrors below `folder` that nobody uses."""
    mirrors = await asyncio.to_thread(lambda: sorted(folder.glob("*.git")))
    evicted = await asyncio.to_thread(caches.evict, mirrors, budget_mib, in_use)
    return CleanupCounts(cached=len(evicted.entries), freed_bytes=evicted.freed_bytes, details=evicted.details)


async def pack(folder: Path, in_use: Collection[Path], user: User) -> tuple[str, ...]:
    """Pack a mirror that needs it and that nobody uses; says which. Takes as long as git takes for it."""
    crowded = await asyncio.to_thread(lambda: [path for path in sorted(folder.glob("*.git")) if needs_packing(path)])
    for path in [path for path in crowded if path not in in_use][:REPACKS]:
        if await _pack(path, user):
            return (f"packed the mirror {path.name}",)
    return ()


def needs_packing(path: Path) -> bool:
    """Whether fetches left so many packs or loose objects that reading gets slow. Blocking."""
    objects = path / "objects"
    packs = sum(1 for _ in objects.glob("pack/*.pack"))
    # Object ids spread evenly: one folder in 256 speaks for all.
    loose = 256 * sum(1 for _ in objects.glob("17/*"))
    return packs > MOST_PACKS or loose > MOST_LOOSE


async def _pack(path: Path, user: User) -> bool:
    argv = [*user.prefix(), *git("gc", "--quiet", f"--prune={PRUNE}")]
    try:
        await run(argv, cwd=path, timeout_s=_TIMEOUT_S)
    except (GitError, OSError) as error:
        _log.warning("the mirror %s could not be packed: %s", path.name, error)
        return False
    return True
