"""Begins a new epoch in a restored database: what was promised on the lost time line is void."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from controlplane.domain.audit import RESTORED, Seals
from controlplane.domain.epoch import FENCES, SETTING, next_number
from controlplane.domain.event import NewEvent
from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.identity import NOT_BEFORE
from controlplane.stores.memory import Memory
from controlplane.stores.sqlite import SqliteSession, explained, opened
from controlplane.stores.tickets import FLOOR
from controlplane.stores.tokens import Tokens
from controlplane.stores.transaction import Writes
from controlplane.stores.writer import Job, commit_group
from controlplane.usecases.coordinator import TOPIC as COORDINATOR_TOPIC
from controlplane.usecases.placement import lose_all

CAUSE: Final = "restored"

# Effects that concern a lease; pull requests are opened all the same.
DROP_EFFECTS: Final = (
    "UPDATE effect SET done_at = ?, next_try = NULL WHERE done_at IS NULL AND kind IN ('revoke', 'answer')"
)
# Events go on behind every cursor that a client may have from the lost time line; so do those of topics that all share
# and that a young database knows nothing of yet.
RAISE_TOPICS: Final = "UPDATE topic SET seq = MAX(seq, ?)"
ADD_TOPIC: Final = "INSERT INTO topic (name, seq) VALUES (?, 0) ON CONFLICT DO NOTHING"
SHARED_TOPICS: Final = (TICKETS_TOPIC, COORDINATOR_TOPIC)
# Answers given, how far hosts were heard, and whoever was logged in or about to be.
FORGET: Final = tuple(
    f"DELETE FROM {table}"  # noqa: S608 - names of our own tables
    for table in ("answer", "link", "login", "refresh_token", "one_time_token", "guess")
)
SELECT_COUNTERS: Final = "SELECT name, value FROM counter"
UPSERT_COUNTER: Final = (
    "INSERT INTO counter (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


def begin_epoch(path: Path, epoch: int, now: float, seals: Seals) -> int:
    """Migrate the database and begin the epoch, in one commit; how many leases became void.

    StartError for a file that cannot be used.
    """
    with explained(str(path)):
        connection = opened(str(path))
    session = SqliteSession(connection)
    job = Job(lambda tx: void(tx, epoch, now))
    try:
        commit_group(session, Tokens(b""), Memory(seals), (job,))
    finally:
        session.close()
    if job.error:
        raise job.error
    return int(job.result)


def void(tx: Writes, epoch: int, now: float) -> int:
    """For a database that nobody remembers anything of: it changes rows behind the back of the unit of work."""
    session = tx.session
    session.change(ADD_TOPIC, ((name,) for name in SHARED_TOPICS))
    session.change(RAISE_TOPICS, ((epoch * FENCES,),))
    leased = tx.leased_tickets()
    if leased:
        lose_all(tx, leased, now, cause=CAUSE, reason="leased when the backup was made")
    for statement in FORGET:
        session.rows(statement)
    tx.set_setting(NOT_BEFORE, now)
    session.rows(DROP_EFFECTS, (now,))
    counters = {FLOOR: 0, **dict(session.rows(SELECT_COUNTERS))}
    session.change(UPSERT_COUNTER, [(name, next_number(value, epoch)) for name, value in counters.items()])
    tx.set_setting(SETTING, epoch)
    tx.add_events([NewEvent(COORDINATOR_TOPIC, "coordinator.restored", {"epoch": epoch, "leases": len(leased)})], now)
    tx.seal_audit()
    tx.add_audit(RESTORED, "operator", "", {"epoch": epoch, "leases": len(leased)}, now)
    return len(leased)
