from __future__ import annotations

import pytest

from controlplane.domain.epoch import BEGINNING, FENCES, HOUR_S, NUMBERS, following, next_fence, next_number
from controlplane.domain.transitions import Action, advance
from tests.fakes.seeds import NOW, a_ticket


@pytest.mark.parametrize(
    ("known", "hours", "epoch"),
    [(0, 7941.5, 7941), (7941, 7941.9, 7942), (9000, 7941, 9001), (0, -5, 1)],
)
def test_an_epoch_follows_the_clock_and_every_earlier_one(known: int, hours: float, epoch: int) -> None:
    assert following(known, BEGINNING + hours * HOUR_S) == epoch


def test_the_same_backup_restored_twice_gives_out_no_number_twice() -> None:
    """The second restore knows nothing of the first, only that it is later."""
    first, second = (following(0, BEGINNING + hours * HOUR_S) for hours in (100, 101))
    fences = [next_fence(3, first)]
    while len(fences) < 1000:
        fences.append(next_fence(fences[-1], first))
    assert next_fence(3, second) not in fences
    assert next_number(7, second) >= next_number(7, first) + NUMBERS


def test_without_a_restore_fences_and_numbers_are_small() -> None:
    assert [next_fence(0, 0), next_fence(1, 0)] == [1, 2]


def test_numbers_only_grow() -> None:
    assert next_number(10 * NUMBERS, 3) == 11 * NUMBERS
    assert next_fence(5 * FENCES, 3) == 5 * FENCES + 1


def test_a_lease_takes_the_epoch_into_its_fence() -> None:
    lease = {"host_id": "hs_1", "attempt_id": "at_1", "lease_expires_at": NOW}
    step = advance(a_ticket(1, fence=4), Action.ASSIGN, NOW, epoch=2, **lease)  # type: ignore[arg-type]
    assert step.ticket.fence == 2 * FENCES + 1
    assert advance(a_ticket(1, fence=4), Action.ASSIGN, NOW, **lease).ticket.fence == 5  # type: ignore[arg-type]
