"""Units of work put together in a test."""

from __future__ import annotations

from collections.abc import Callable

from controlplane.ports import Tx


def all_of(*works: Callable[[Tx], object]) -> Callable[[Tx], None]:
    """One unit that does these in turn."""

    def unit(tx: Tx) -> None:
        for work in works:
            work(tx)

    return unit
