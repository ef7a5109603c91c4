"""Accounts where nobody logs in."""

from __future__ import annotations

from typing import Any, cast

from controlplane.ports import Store
from controlplane.usecases.accounts.parts import Accounts


def no_accounts(store: Store) -> Accounts:
    """For those who do without: every credential is the one that the test hands out."""
    nothing = cast("Any", None)

    async def refresh() -> None: ...

    return Accounts(store, passwords=nothing, codes=nothing, seal=nothing, access=nothing, refresh=refresh)
