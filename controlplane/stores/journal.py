"""Settings, the outbox and remembered answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controlplane.domain.event import Effect
from controlplane.stores import statements
from controlplane.stores.tables import AnswerTable, EffectTable, SettingTable
from controlplane.stores.unit import Unit, pack, unpack

# How long an idempotency key is honoured.
REMEMBER_S = 24 * 3600.0

SELECT_SETTING = "SELECT value FROM setting WHERE name = ?"
SELECT_ANSWER = "SELECT request_hash, answer FROM answer WHERE principal = ? AND key = ?"
SELECT_DUE = "SELECT key, kind, payload FROM effect WHERE {} next_try <= ? ORDER BY next_try, key LIMIT ?"
SELECT_DUE_OF, SELECT_ALL_DUE = SELECT_DUE.format("kind = ? AND"), SELECT_DUE.format("")
SELECT_ANSWER = "SELECT request_hash, answer FROM answer WHERE principal = ? AND key = ?"
# The error is that of the row with the newest try.
COUNT_EFFECTS = (
    "SELECT count(*), SUM(error <> ''), (SELECT error FROM effect WHERE next_try IS NOT NULL AND error <> ''"
    " ORDER BY next_try DESC LIMIT 1) FROM effect WHERE next_try IS NOT NULL"
)
UPSERT_SETTING = statements.upsert(SettingTable, "name")
INSERT_EFFECT = statements.insert_new(EffectTable)
EFFECT_DONE = "UPDATE effect SET done_at = ?, next_try = NULL, error = '' WHERE key = ?"
EFFECTS_AGAIN = "UPDATE effect SET next_try = ? WHERE key >= ? AND key < ? AND done_at IS NULL"
EFFECT_FAILED = "UPDATE effect SET tries = tries + 1, error = ?, next_try = ? WHERE key = ? AND done_at IS NULL"
UPSERT_ANSWER = statements.upsert(AnswerTable, "principal", "key")
FORGET_ANSWERS = "DELETE FROM answer WHERE created_at < ?"


class JournalReads(Unit):
    def setting(self, name: str) -> Any:
        found = self.session.rows(SELECT_SETTING, (name,))
        return unpack(found[0][0]) if found else None

    def due_effects(self, now: float, limit: int, kind: str = "") -> list[Effect]:
        rows = self.session.rows
        due = rows(SELECT_DUE_OF, (kind, now, limit)) if kind else rows(SELECT_ALL_DUE, (now, limit))
        return [Effect(key=key, kind=kind, payload=unpack(payload)) for key, kind, payload in due]

    def outbox(self) -> tuple[int, int, str]:
        (waiting, failing, error) = self.session.rows(COUNT_EFFECTS)[0]
        return int(waiting), int(failing or 0), str(error or "")

    def replay(self, principal: str, key: str) -> tuple[str, bytes] | None:
        found = self.session.rows(SELECT_ANSWER, (principal, key))
        return (found[0][0], bytes(found[0][1])) if found else None


class JournalWrites(JournalReads):
    def set_setting(self, name: str, value: Any) -> None:
        self.session.change(UPSERT_SETTING, ((name, pack(value)),))
        self.topics.add("settings")

    def add_effects(self, effects: Sequence[Effect], now: float) -> None:
        rows = ((one.key, one.kind, pack(dict(one.payload)), 0, "", now, now, None) for one in effects)
        if self.session.change(INSERT_EFFECT, rows):
            self.topics.add("outbox")

    def effect_done(self, key: str, now: float) -> None:
        self.session.change(EFFECT_DONE, ((now, key),))

    def effect_failed(self, key: str, error: str, next_try: float) -> None:
        self.session.change(EFFECT_FAILED, ((error, next_try, key),))
        self.topics.add("outbox")

    def effects_again(self, prefixes: Sequence[str], now: float) -> None:
        """Prefixes of ASCII."""
        if self.session.change(EFFECTS_AGAIN, ((now, prefix, f"{prefix}\x7f") for prefix in prefixes)):
            self.topics.add("outbox")

    def remember(self, principal: str, key: str, request_hash: str, answer: bytes, now: float) -> None:
        self.session.change(FORGET_ANSWERS, ((now - REMEMBER_S,),))
        self.session.change(UPSERT_ANSWER, ((principal, key, request_hash, answer, now),))
