"""Transitions of tickets into SQLite with synchronous=FULL: grouped by the one writer, and row by row."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from peewee import AutoField, BigIntegerField, DoubleField, Model, SqliteDatabase, TextField
from playhouse.apsw_ext import APSWDatabase

from bench.measure import Row, figures
from controlplane.domain.ticket import Ticket, TicketSpec, TicketState
from controlplane.domain.transitions import Action, Step, advance
from controlplane.events.bus import LocalBus
from controlplane.ports import Tx
from controlplane.stores.sqlite import SqliteStore
from controlplane.stores.tables import EventTable, TicketTable
from controlplane.stores.tickets import ticket_row
from controlplane.stores.unit import pack
from controlplane.usecases.moves import commit_steps

NAME = "store"
SUMMARY = "transitions of tickets at synchronous=FULL: grouped commits, one by one, peewee row by row"

BATCH = 500
ROW_BY_ROW = 20
"""Transitions per round of the peer, which commits several times for each."""
WARM_UP = 1


def tickets(count: int, start: int) -> list[Ticket]:
    spec = TicketSpec("bench", description="As long as what people write in two or three sentences. " * 3, agent="echo")
    return [
        Ticket(f"tk_{number:026}", f"TKT-{number}", "default", spec, TicketState.READY, 1.0, 1.0)
        for number in range(start, start + count)
    ]


def steps(found: Sequence[Ticket], now: float) -> list[Step]:
    """Each is leased: compare-and-set of the row, two events."""
    return [
        advance(each, Action.ASSIGN, now, host_id="hs_1", attempt_id=f"at_{each.id}", lease_expires_at=now + 45)
        for each in found
    ]


class Ours:
    """The real store in a file, with its writer thread."""

    def __init__(self, folder: Path) -> None:
        self.store = SqliteStore(folder / "ours.db", LocalBus())
        self.number = 0

    async def fresh(self, count: int) -> list[Ticket]:
        made = tickets(count, self.number)
        self.number += count
        await self.store.write(lambda tx: tx.add_tickets(made))
        return made

    async def in_one(self) -> float:
        """Microseconds per transition when one unit of work holds a whole batch, as that of a plan does."""
        moves = steps(await self.fresh(BATCH), self.store.now())
        began = time.perf_counter()
        await self.store.write(lambda tx: commit_steps(tx, moves, 1.0))
        return (time.perf_counter() - began) / BATCH * 1e6

    async def side_by_side(self) -> float:
        """The same when each is a unit of work of its own, and all want to be written at once."""
        moves = steps(await self.fresh(BATCH), self.store.now())
        began = time.perf_counter()
        await asyncio.gather(*(self.store.write(partial(moved, step=step)) for step in moves))
        return (time.perf_counter() - began) / BATCH * 1e6


def moved(tx: Tx, *, step: Step) -> None:
    commit_steps(tx, [step], 1.0)


class Moving(Model):
    """What one transition is at the very least: one row with what moved."""

    id = AutoField()
    ticket_id = TextField(index=True)
    state = TextField()
    host_id = TextField()
    attempt_id = TextField()
    fence = BigIntegerField()
    time = DoubleField()


class RowByRow:
    """Peewee's way: each row saved where it comes up, each a commit of its own; the same columns and the same data."""

    def __init__(self, folder: Path) -> None:
        pragmas = {"journal_mode": "wal", "synchronous": "full"}
        self.database: SqliteDatabase = APSWDatabase(str(folder / "peer.db"), pragmas=pragmas)
        self.number = self.seq = 0
        with self.database.bind_ctx([TicketTable, EventTable, Moving]):
            self.database.create_tables([TicketTable, EventTable, Moving])

    def transitions(self) -> float:
        """Microseconds per transition: the guarded update, two events."""
        made = tickets(ROW_BY_ROW, self.number)
        self.number += ROW_BY_ROW
        names = list(TicketTable._meta.columns)  # noqa: SLF001 - the query builder's way to a model's description
        with self.database.bind_ctx([TicketTable, EventTable]):
            for each in made:
                TicketTable.create(**dict(zip(names, ticket_row(each), strict=True)))
            began = time.perf_counter()
            for each in made:
                self.move(each)
            return (time.perf_counter() - began) / ROW_BY_ROW * 1e6

    def move(self, ticket: Ticket) -> None:
        step = steps([ticket], 1.0)[0]
        after = step.ticket
        moved = {
            "state": after.state.value,
            "fence": after.fence,
            "attempts": after.attempts,
            "host_id": after.host_id,
            "attempt_id": after.attempt_id,
            "lease_expires_at": after.lease_expires_at,
            "updated_at": after.updated_at,
        }
        guard = (TicketTable.id == ticket.id) & (TicketTable.state == "ready") & (TicketTable.fence == ticket.fence)
        if TicketTable.update(**moved).where(guard).execute() != 1:
            raise RuntimeError(f"{ticket.id} was not moved")
        for event in step.events:
            self.seq += 1
            EventTable.create(topic=event.topic, seq=self.seq, type=event.type, time=1.0, data=pack(dict(event.data)))

    def creates(self) -> float:
        """Microseconds per `create()` of one row, and nothing else."""
        with self.database.bind_ctx([Moving]):
            began = time.perf_counter()
            for number in range(ROW_BY_ROW):
                Moving.create(
                    ticket_id=f"tk_{number:026}", state="assigned", host_id="hs_1", attempt_id="at_1", fence=1, time=1.0
                )
            return (time.perf_counter() - began) / ROW_BY_ROW * 1e6


async def measure(n: int, folder: Path) -> list[list[float]]:
    """Samples of both of ours and both of the peer's, in turns."""
    ours, peer = Ours(folder), RowByRow(folder)
    await ours.store.open()
    try:
        rounds = [
            (await ours.in_one(), await ours.side_by_side(), peer.transitions(), peer.creates())
            for _ in range(n + WARM_UP)
        ]
    finally:
        await ours.store.close()
        peer.database.close()
    return [list(samples) for samples in zip(*rounds[WARM_UP:], strict=True)]


def run(n: int) -> list[Row]:
    """Microseconds per transition; a round is a batch, of which the mean is one sample."""
    with tempfile.TemporaryDirectory(prefix="swarm-bench-") as folder:
        in_one, side_by_side, rows, creates = map(figures, asyncio.run(measure(n, Path(folder))))

    def rate(one: float) -> str:
        return f"{1e6 / one:,.0f}/s"

    against = f"{rate(in_one.p50)} against {rate(rows.p50)}"
    alone = f"{rate(side_by_side.p50)} against {rate(rows.p50)}"
    return [
        Row("transition, 500 in a unit", "us", in_one, "peewee, same rows one by one", rows, ">= 20x", against),
        Row("transition, 500 units at once", "us", side_by_side, "peewee, same rows one by one", rows, note=alone),
        Row(
            "transition, 500 in a unit",
            "us",
            in_one,
            "peewee, one create()",
            creates,
            note="a single bare row against a guarded move with two numbered events",
        ),
    ]
