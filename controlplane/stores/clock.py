"""The store's time: it goes on from the newest that was written, with all waits as long as they were then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.errors import StartError
from controlplane.stores.journal import SELECT_SETTING, UPSERT_SETTING
from controlplane.stores.session import Session
from controlplane.stores.unit import pack, unpack

log = logging.getLogger(__name__)

EARLIEST: Final = 1_704_067_200.0  # 2024-01-01: a clock before this was never set
RESUMED: Final = "resumed_at"

MOVED: Final = "SELECT time FROM event WHERE topic = ? ORDER BY seq DESC LIMIT 1"
SEEN: Final = "SELECT max(last_seen_at) FROM host"
# By an index each: the tickets that are held, and those in a state that may be waited in.
SHIFT: Final = (
    "UPDATE ticket SET lease_expires_at = lease_expires_at + ? WHERE host_id > '' AND lease_expires_at > ?",
    "UPDATE ticket SET not_before = not_before + ? WHERE state IN ('ready', 'failed', 'cancelled') AND not_before > ?",
)


def steady_clock() -> Callable[[], float]:
    """Wall clock as of now, carried on by the boot clock: a step of the wall clock moves no lease."""
    wall = time.time()
    if wall < EARLIEST:
        raise StartError(
            f"the system clock says {time.strftime('%Y-%m-%d', time.gmtime(wall))}; set it and start again"
        )
    start = wall - time.clock_gettime(time.CLOCK_BOOTTIME)
    return lambda: start + time.clock_gettime(time.CLOCK_BOOTTIME)


def resume(session: Session, clock: Callable[[], float]) -> Callable[[], float]:
    """The clock to go on with, with all leases and waits as long as they were when the database was last written.

    The wall clock may have been set while nobody ran. Back, every lease and every retry that is due would wait for it;
    forth, they would be over at once, with a host that is cut off still at work.
    """
    floor = newest(session)
    clock = not_before(floor, clock)
    now = clock()
    session.begin(write=True)
    for statement in SHIFT:
        session.change(statement, ((now - floor, floor),))
    session.change(UPSERT_SETTING, ((RESUMED, pack(now)),))
    session.commit()
    return clock


def newest(session: Session) -> float:
    """When the database was last written, as far as leases and retries are concerned."""
    resumed = session.rows(SELECT_SETTING, (RESUMED,))
    times = (*session.rows(MOVED, (TICKETS_TOPIC,)), *session.rows(SEEN), *((unpack(row[0]),) for row in resumed))
    return max(float(row[0] or 0.0) for row in times)


def not_before(floor: float, clock: Callable[[], float]) -> Callable[[], float]:
    """The clock, set forward where it starts before `floor`."""
    behind = floor - clock()
    if behind <= 0:
        return clock
    log.warning("the system clock is %.0f s behind the database, whose time goes on from where it was", behind)
    return lambda: clock() + behind
