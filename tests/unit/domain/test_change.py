from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from controlplane.domain.change import replace
from controlplane.domain.ticket import TicketState
from tests.fakes.seeds import a_ticket, an_attempt


def test_it_does_what_the_standard_library_does() -> None:
    ticket = a_ticket(1, TicketState.RUNNING, host_id="hs_1", fence=3)
    changes: dict[str, Any] = {"state": TicketState.READY, "host_id": "", "lease_expires_at": None}
    assert replace(ticket, **changes) == dataclasses.replace(ticket, **changes)
    attempt = an_attempt(ticket)
    assert replace(attempt, cause="vm_lost") == dataclasses.replace(attempt, cause="vm_lost")


def test_what_it_was_made_from_stays_as_it_was() -> None:
    ticket = a_ticket(1)
    after = replace(ticket, fence=7)
    assert (ticket.fence, after.fence) == (0, 7)
    with pytest.raises(dataclasses.FrozenInstanceError):
        after.fence = 8  # type: ignore[misc]


def test_a_name_that_is_no_field_is_refused() -> None:
    with pytest.raises(TypeError, match="no field colour"):
        replace(a_ticket(1), colour="red")
