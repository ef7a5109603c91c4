"""Accounts where nobody logs in."""

from __future__ import annotations

from typing import Any, cast

from controlplane.api.handlers import People
from controlplane.ports import Store
from controlplane.usecases.accounts.parts import Accounts
from controlplane.usecases.inbox import Notices
from controlplane.usecases.settings import Settings


def no_accounts(store: Store) -> Accounts:
    """For those who do without: every credential is the one that the test hands out."""
    nothing = cast("Any", None)

    async def refresh() -> None: ...

    return Accounts(store, passwords=nothing, codes=nothing, seal=nothing, access=nothing, refresh=refresh)


def no_people() -> People:
    """Nobody has an inbox, and nothing is configured."""
    nothing = cast("Any", None)

    async def refresh() -> None: ...

    return People(Notices(nothing, nothing), nothing, Settings((), lambda _name, value: value), refresh, {})
