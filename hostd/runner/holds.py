"""Why a VM is paused. It runs while nobody holds it: an operator and a lost lease do not undo each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum

from hostd.ports import Vm, VmState


class Hold(StrEnum):
    OPERATOR = "operator"
    LEASE = "lease"


class Holds:
    """Pauses and resumes one VM; `changed` is told True when it stands still from now on."""

    def __init__(self, changed: Callable[[bool], None] = lambda _: None) -> None:
        self._reasons: set[Hold] = set()
        self._changed = changed
        self._lock = asyncio.Lock()

    def __contains__(self, hold: Hold) -> bool:
        return hold in self._reasons

    def __bool__(self) -> bool:
        return bool(self._reasons)

    def add(self, hold: Hold) -> None:
        self._reasons.add(hold)

    def discard(self, hold: Hold) -> None:
        self._reasons.discard(hold)

    async def settle(self, vm: Vm) -> None:
        """Bring `vm` to where it should be; one that is not running yet is left alone. `VmLostError`."""
        async with self._lock:
            if self._reasons and vm.state is VmState.RUNNING:
                await vm.pause()
                self._changed(True)  # noqa: FBT003  # a callback with one argument
            elif not self._reasons and vm.state is VmState.PAUSED:
                await vm.resume()
                self._changed(False)  # noqa: FBT003
