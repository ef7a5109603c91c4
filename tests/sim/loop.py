"""An event loop in virtual time, and processes on it that can be killed and stopped like real ones.

Nothing sleeps: when all is idle, the clock jumps to the next timer. There are no threads and no file descriptors, so a
run depends on its seed alone. A process is a context variable: whatever is scheduled by its code belongs to it. Once
it is dead none of that ever runs, not even a `finally`; while it is stopped it all waits.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")

COLLECT = 500_000  # callbacks between two collections of garbage


class KilledError(BaseException):
    """Unwinds the one callback in which a process dies; nothing of that process runs after it."""


class Process:
    """Something that can die at any await."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.held: deque[asyncio.Handle] | None = None
        self.dropped: list[asyncio.Handle] = []  # for the burial only

    def admits(self, handle: asyncio.Handle) -> bool:
        if not self.alive:
            self.dropped.append(handle)
        elif self.held is not None:
            self.held.append(handle)
        else:
            return True
        return False


PROCESS: ContextVar[Process] = ContextVar("process")


class _Callback(asyncio.Handle):
    __slots__ = ("process",)

    def __init__(self, callback: Callable[..., Any], args: Any, loop: VirtualLoop, context: Context | None) -> None:
        context = copy_context() if context is None else context
        super().__init__(callback, args, loop, context)
        self.process = context.get(PROCESS)

    def _run(self) -> None:
        if self.process is None or self.process.admits(self):
            super()._run()


class _Timer(asyncio.TimerHandle):
    __slots__ = ("process",)

    def __init__(
        self, when: float, callback: Callable[..., Any], args: Any, loop: VirtualLoop, context: Context | None
    ) -> None:
        context = copy_context() if context is None else context
        super().__init__(when, callback, args, loop, context)
        self.process = context.get(PROCESS)

    def _run(self) -> None:
        if self.process is None or self.process.admits(self):
            super()._run()


class VirtualLoop(asyncio.BaseEventLoop):
    """Deterministic: callbacks run in the order in which they were scheduled, timers in that of their times."""

    _ready: deque[asyncio.Handle]

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.callbacks = 0
        self._timers: list[tuple[float, int, _Timer]] = []
        self._collected = 0
        self._graveyard: list[asyncio.Task[Any]] = []
        self.broken: Callable[[BaseException], None] = lambda _: None  # told of what no callback caught
        self.set_exception_handler(self._uncaught)

    def time(self) -> float:
        return self.now

    def _uncaught(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and not isinstance(error, KilledError):
            self.broken(error)

    def _run_once(self) -> None:
        """Moves the clock to the next timer when nothing else is to do; then one round of all that is due."""
        if not self._ready:
            self._collect()
            while self._timers and self._timers[0][2].cancelled():
                heapq.heappop(self._timers)
            if not self._timers:
                raise RuntimeError("the simulation stands still: nothing is scheduled any more")
            self.now = max(self.now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self.now:
            self._ready.append(heapq.heappop(self._timers)[2])
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _collect(self) -> None:
        """Garbage is collected at fixed points only: what it finds may be a generator, whose end is a callback."""
        if self.callbacks - self._collected > COLLECT:
            self._collected = self.callbacks
            gc.collect()

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = _Callback(callback, args, self, context)
        self._ready.append(handle)
        self.callbacks += 1
        return handle

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        self.callbacks += 1
        heapq.heappush(self._timers, (when, self.callbacks, timer))
        return timer

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def _write_to_self(self) -> None:
        """The loop is never asleep."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # typeshed's form of it is a TypeVar tuple
        """At once, in the loop's own thread."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  # it belongs to the caller
            future.set_exception(error)
        return future

    # Processes

    def spawn(self, process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs work as part of a process."""
        context = copy_context()
        context.run(PROCESS.set, process)
        return self.create_task(work, context=context)

    def kill(self, process: Process) -> None:
        """SIGKILL. Its tasks are kept, so that collecting them does not run their clean-up."""
        process.alive = False
        process.dropped += process.held or ()
        process.held = None
        self._graveyard += asyncio.all_tasks(self)

    def stop_process(self, process: Process) -> None:
        """SIGSTOP: its clocks go on, its code does not."""
        if process.held is None:
            process.held = deque()

    def continue_process(self, process: Process) -> None:
        held, process.held = process.held, None
        if held and process.alive:
            self._ready.extend(held)

    def bury(self, processes: list[Process]) -> None:
        """After the run: lets everything end, the dead too, so that nothing is left for the collector to trip over."""
        for process in processes:
            self.continue_process(process)
            process.alive = True
            self._ready.extend(process.dropped)
        for _ in range(20):
            rest = [task for task in asyncio.all_tasks(self) if not task.done()]
            if not rest:
                break
            for task in rest:
                task.cancel()
            self.run_until_complete(asyncio.wait(rest, timeout=1))
        self._graveyard.clear()
        self.run_until_complete(self.shutdown_asyncgens())
        self.close()
