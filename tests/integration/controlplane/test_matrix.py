"""I21: every method, asked by the owner of a thing, by another tenant, by a viewer and by nobody at all."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from google.protobuf.message import Message

from controlplane.api.methods import Method
from controlplane.api.pipeline import Dispatcher
from controlplane.errors import SwarmError
from tests.integration.controlplane.rows import MARK, ROWS, Kind
from tests.integration.controlplane.world import METHODS, PRINCIPALS, expected, name_in, world


def test_every_method_has_its_row() -> None:
    """A new method needs a line in the table above."""
    assert {f"swarm.{name}" for name in ROWS} == METHODS.keys()


async def ask(dispatcher: Dispatcher, method: Method, request: Message, who: str) -> tuple[str, str]:
    """Code, and the first answer as text."""
    metadata = {"authorization": who} if who in PRINCIPALS else {}
    try:
        if not method.streaming:
            return "OK", str(await dispatcher.unary(method.name, request, metadata, "test"))
        answers = dispatcher.stream(method.name, requests(request), metadata, "test")
        async with aclosing(answers):
            async for answer in answers:
                return "OK", str(answer)
    except SwarmError as error:
        return error.code, error.message
    return "OK", ""


async def requests(request: Message) -> AsyncGenerator[Message, None]:
    yield request


@pytest.mark.parametrize("name", ROWS)
async def test_each_gets_what_is_theirs(name: str) -> None:
    """In this order, so that what should not have happened would be seen by who comes later."""
    row, method = ROWS[name], METHODS[f"swarm.{name}"]
    got: dict[str, tuple[str, str]] = {}
    async with world() as dispatcher:
        for who in ("nobody", "viewer", "other", "owner"):
            got[who] = await ask(dispatcher, method, row.request, who)
    assert {who: code for who, (code, _) in got.items()} == {who: expected(row, method, who) for who in got}
    assert MARK not in got["other"][1].replace(name_in(row.request), "")
    assert MARK not in got["nobody"][1]


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, row in ROWS.items()
        if row.kind is Kind.LIST
        and not any(word in name for word in ("GetFailures", "GetSwarm", "Claim", "Unhealthy", "Export"))
    ],
)
async def test_a_list_holds_what_is_its_owners(name: str) -> None:
    """Else that it shows others nothing would prove nothing."""
    method = METHODS[f"swarm.{name}"]
    async with world() as dispatcher:
        assert MARK in (await ask(dispatcher, method, ROWS[name].request, "owner"))[1]


def test_what_all_share_is_changed_by_the_deployments_own_tenant_only() -> None:
    rows = {f"swarm.{name}" for name, row in ROWS.items() if row.kind is Kind.HOME}
    assert rows == {name for name, method in METHODS.items() if method.fleet}
