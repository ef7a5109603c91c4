from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from controlplane.domain.call import Principal, Role
from controlplane.errors import InvalidInput, Unauthenticated
from controlplane.gateway.admission import Admission
from controlplane.gateway.front import COMMON

ANN = Principal("ann", Role.VIEWER)


class Tickets:
    """One ticket, good once, for a login that may end."""

    def __init__(self) -> None:
        self.left = {"good"}
        self.live = True

    async def authenticate_ticket(self, ticket: str) -> Principal:
        if ticket not in self.left:
            raise Unauthenticated("used")
        self.left.remove(ticket)
        return ANN

    def again(self, principal: Principal) -> Principal:
        if not self.live:
            raise Unauthenticated("over")
        return principal


def asked(path: str, **headers: str) -> Any:
    request = make_mocked_request("GET", path, headers=headers)
    request[COMMON] = {"X-Request-Id": "rq_1"}
    return request


def known(metadata: Any) -> Principal:
    if metadata.get("authorization") != "Bearer ann":
        raise Unauthenticated("nobody")
    return ANN


async def test_a_ticket_is_good_once_and_as_long_as_its_login() -> None:
    tickets = Tickets()
    admission = Admission(known, tickets)
    admitted = await admission.of(asked("/ws?ticket=good"))
    assert admitted is not None
    assert admitted.principal == ANN
    assert admitted.authenticate(admitted.metadata) == ANN
    with pytest.raises(Unauthenticated):
        await admission.of(asked("/ws?ticket=good"))
    tickets.live = False
    with pytest.raises(Unauthenticated):
        admitted.authenticate(admitted.metadata)


async def test_one_credential_is_enough() -> None:
    admission = Admission(known, Tickets())
    assert await admission.of(asked("/ws")) is None
    assert await admission.of(asked("/ws?token=ann"))
    assert await admission.of(asked("/ws", Authorization="Bearer ann"))
    with pytest.raises(InvalidInput):
        await admission.of(asked("/ws?token=ann&ticket=good"))
    with pytest.raises(InvalidInput):
        await admission.of(asked("/ws?token=ann", Authorization="Bearer ann"))
