"""One writer: units of work that come while a commit runs share the next one, each within a savepoint of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from controlplane.errors import Conflict
from controlplane.failpoint import hit
from controlplane.ports import Moved
from controlplane.stores.memory import Memory
from controlplane.stores.pending import Pending
from controlplane.stores.session import Session
from controlplane.stores.tokens import Tokens
from controlplane.stores.transaction import GroupLostError, Writes

# Bounds how long the first of a group waits for the last.
MAX_GROUP = 256

Work = Callable[[Writes], Any]


@dataclass(slots=True)
class Job:
    """A unit of work and, once its group is committed or lost, what came of it.

    That is a result with topics and moves, or an error.
    """

    work: Work
    result: Any = None
    error: BaseException | None = None
    topics: set[str] = field(default_factory=set)
    moved: Moved | None = None
    tag: Any = None


def commit_group(session: Session, tokens: Tokens, memory: Memory, jobs: Sequence[Job]) -> None:
    """Run the jobs in one transaction. One that raises leaves nothing behind; a failed commit fails all of them.

    Rows that the database refuses are seen late, when nobody knows whose they are: then each job gets a commit of its
    own.
    """
    try:
        together(session, tokens, memory, jobs)
    except Conflict as error:
        if len(jobs) == 1:
            fail(jobs, error)
        for job in jobs if len(jobs) > 1 else ():
            job.error = None
            commit_group(session, tokens, memory, (job,))
    except Exception as error:  # noqa: BLE001 - whatever it is belongs to the callers, and the writer goes on
        fail(jobs, error)


def together(session: Session, tokens: Tokens, memory: Memory, jobs: Sequence[Job]) -> None:
    group = Pending()
    try:
        session.begin(write=True)
        for job in jobs:
            run(Writes(session, tokens, memory, group), job)
        Writes(session, tokens, memory, group).settle()
        hit("store_before_commit")
        session.commit()
        hit("store_after_commit")
    except BaseException as error:
        session.rollback()
        memory.clear()
        if isinstance(error, GroupLostError) and error.__cause__:
            raise error.__cause__ from None
        raise


def fail(jobs: Sequence[Job], error: Exception) -> None:
    for job in jobs:
        job.error = job.error or error
        job.topics.clear()
        job.moved = None


def run(unit: Writes, job: Job) -> None:
    try:
        job.result = job.work(unit)
        unit.end()
    except GroupLostError:
        raise
    except Exception as error:
        unit.undo()
        job.error = error
        if not unit.raw.in_transaction():
            raise GroupLostError from error
    else:
        job.topics = unit.topics
        if unit.listed:
            after = unit.upto - len(unit.listed)
            job.moved = Moved(after, unit.upto, tuple(unit.moved.values()), tuple(unit.listed))


class Writer:
    """The thread that owns the writing session. `done` is called in it after each group."""

    def __init__(self, session: Session, tokens: Tokens, memory: Memory, done: Callable[[Sequence[Job]], None]) -> None:
        self._session = session
        self._tokens = tokens
        self._memory = memory
        self._done = done
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="store-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, job: Job) -> None:
        self._queue.put(job)

    def stop(self) -> None:
        """Commit what was put so far, then end; blocks until then."""
        self._queue.put(None)
        self._thread.join()

    def _loop(self) -> None:
        going = True
        while going:
            group = [self._queue.get()]
            while len(group) < MAX_GROUP and not self._queue.empty():
                group.append(self._queue.get())
            going = None not in group
            jobs = [job for job in group if job is not None]
            if jobs:
                commit_group(self._session, self._tokens, self._memory, jobs)
                self._done(jobs)
