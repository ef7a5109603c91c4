"""One writer: units of work that come while a commit runs share the next one, each within a savepoint of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from controlplane.failpoint import hit
from controlplane.ports import Moved
from controlplane.stores.memory import Memory
from controlplane.stores.session import Session
from controlplane.stores.tokens import Tokens
from controlplane.stores.transaction import Writes

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


class GroupLostError(Exception):
    """The database gave the whole transaction up, as it does when the disk is full."""


def commit_group(session: Session, tokens: Tokens, memory: Memory, jobs: Sequence[Job]) -> None:
    """Run the jobs in one transaction. One that raises leaves nothing behind; a failed commit fails all of them."""
    try:
        session.begin(write=True)
        for job in jobs:
            run(session, tokens, memory, job)
        hit("store_before_commit")
        session.commit()
        hit("store_after_commit")
    except Exception as error:  # noqa: BLE001 - whatever it is belongs to the callers, and the writer goes on
        session.rollback()
        memory.clear()
        cause = error.__cause__ if isinstance(error, GroupLostError) else error
        for job in jobs:
            job.error = job.error or cause
            job.topics.clear()
            job.moved = None


def run(session: Session, tokens: Tokens, memory: Memory, job: Job) -> None:
    unit = Writes(session, tokens, memory)
    try:
        with session.savepoint():
            job.result = job.work(unit)
            unit.flush()
            job.topics = unit.topics
            if unit.listed:
                job.moved = Moved(unit.listed[0] - 1, unit.listed[1], tuple(unit.moved.values()))
    except Exception as error:
        memory.undo(unit.touched)
        job.error = error
        if not session.in_transaction():
            raise GroupLostError from error


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
