from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.domain.audit import AuditHead, AuditRow, Broken, Inspection, Seals
from controlplane.errors import StartError

OLD, NEW = "the older of two keys of an audit log", "the newer of two keys of an audit log"
SEALS = Seals.of([OLD])


def chain(count: int, seals: Seals = SEALS, key: str = "") -> list[AuditRow]:
    rows: list[AuditRow] = []
    for number in range(1, count + 1):
        add(rows, seals, key or seals.current, f"act.{number}")
    return rows


def add(rows: list[AuditRow], seals: Seals, key: str, action: str, data: dict[str, str] | None = None) -> None:
    row = AuditRow(len(rows) + 1, 1.5, action, "alice", "rq_1", data or {}, "default", "us_1", key)
    rows.append(replace(row, mac=seals.mac(key, rows[-1].mac if rows else "", row)))


def verdict(rows: list[AuditRow], seals: Seals = SEALS, *heads: AuditHead) -> Broken | None:
    found = Inspection(seals, heads)
    found.take(rows)
    return found.end()


@pytest.mark.parametrize("field", ["time", "action", "principal", "request_id", "data", "tenant_id", "user_id", "mac"])
def test_whatever_is_changed_in_a_row_is_seen_there(field: str) -> None:
    rows = chain(5)
    other: Any = {"time": 2.0, "data": {"a": 1}}.get(field, "x")
    rows[2] = replace(rows[2], **{field: other})
    broken = verdict(rows)
    assert broken is not None
    assert broken.seq == 3


def test_a_chain_is_sound_in_as_many_steps_as_one_likes() -> None:
    rows, found = chain(7), Inspection(SEALS)
    for start in range(0, 9, 3):
        assert found.take(rows[start : start + 3]) is (start < 7)
    assert found.end() is None
    assert (found.rows, found.head) == (7, AuditHead(7, rows[-1].mac))


def test_a_cut_end_is_seen_by_a_head_alone() -> None:
    rows = chain(6)
    head = AuditHead(6, rows[-1].mac)
    assert verdict(rows[:4]) is None
    broken = verdict(rows[:4], SEALS, head)
    assert broken is not None
    assert broken.seq == 5


def test_an_end_that_was_cut_and_grew_again_is_bad_from_behind_the_last_head_that_fits() -> None:
    rows = chain(6)
    heads = [AuditHead(rows[2].seq, rows[2].mac), AuditHead(rows[5].seq, rows[5].mac)]
    grown = rows[:4]
    for _ in range(4):
        add(grown, SEALS, SEALS.current, "other")
    broken = verdict(grown, SEALS, *heads)
    assert broken is not None
    assert broken.seq == 4


def test_a_chain_under_a_key_of_ones_own_is_none() -> None:
    forged = chain(5, Seals.of(["a key that somebody has made up for it"]))
    assert verdict(forged) == Broken(1, f"sealed with a key {forged[0].key} that is not known")
    broken = verdict([replace(row, key=SEALS.current) for row in forged])
    assert broken is not None
    assert broken.seq == 1


def test_the_last_row_under_a_key_has_to_name_the_next() -> None:
    both = Seals.of([OLD, NEW])
    old, new = both.keys
    rows = chain(2, both, old)
    assert verdict([*rows, *_next(rows, both, new)], both) is not None
    add(rows, both, old, "audit.key", {"key": new})
    add(rows, both, new, "act")
    assert verdict(rows, both) is None


def test_an_old_key_that_leaked_opens_nothing_after_its_time() -> None:
    both = Seals.of([OLD, NEW])
    old, new = both.keys
    rows = chain(2, both, new)
    add(rows, both, new, "audit.key", {"key": old})
    add(rows, both, old, "act")
    broken = verdict(rows, both)
    assert broken is not None
    assert broken.seq == 4
    add(rows := chain(2, both, new), both, old, "backup.restore")
    assert verdict(rows, both) is not None


def _next(rows: list[AuditRow], seals: Seals, key: str) -> list[AuditRow]:
    longer = list(rows)
    add(longer, seals, key, "act")
    return longer[len(rows) :]


@pytest.mark.parametrize("keys", [[], ["short"], [OLD, "short"]])
def test_a_key_that_could_be_guessed_is_none(keys: list[str]) -> None:
    with pytest.raises(StartError, match="at least 32"):
        Seals.of(keys)
