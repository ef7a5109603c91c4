"""The way of one attempt, from its assignment to the end that is reported."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from hostd.errors import HostError, NotReadyError
from hostd.failpoint import failpoint
from hostd.messages import Stopped
from hostd.runner.attempt import Attempt
from hostd.runner.hooks import ADOPTED, FRESH, TEARDOWN, run_stages
from hostd.runner.journal import Phase

log = logging.getLogger("hostd.runner")

Result = Literal[True] | BaseException


class RevokedError(HostError):
    """The control plane took the attempt away: nothing is reported."""

    cause = "cancelled"


class LeftRunningError(HostError):
    """hostd ends and leaves the VM to its successor."""


class Course:
    """`run` it once."""

    def __init__(self, attempt: Attempt, report: Callable[[], None]) -> None:
        """`report` is called once the end is on disk."""
        self._attempt = attempt
        self._report = report

    async def run(self) -> bool:
        """False when there is nothing to report. Raises nothing but on cancellation."""
        attempt = self._attempt
        work = asyncio.ensure_future(self._work())
        try:
            waiting: set[asyncio.Future[Any]] = {work, attempt.ended}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            work.cancel()
            (result,) = await asyncio.gather(work, return_exceptions=True)
            await attempt.pushes.close()
            return await self._conclude(attempt.ended.result() if attempt.ending and result is not True else result)
        finally:
            work.cancel()
            attempt.unwatch()
            await attempt.pushes.close()

    async def _work(self) -> Literal[True]:
        attempt, seconds = self._attempt, self._attempt.parts.timing.prepare
        try:
            async with asyncio.timeout(None if attempt.adopted else seconds):
                await run_stages(attempt, ADOPTED if attempt.adopted else FRESH)
        except TimeoutError as error:
            raise NotReadyError(f"not ready to start within {seconds:.0f} s") from error
        await attempt.until_outcome()
        await attempt.pushes.settled()
        return True

    async def _conclude(self, result: Result) -> bool:
        if isinstance(result, LeftRunningError):
            await self._attempt.save()
            return False
        reported = not isinstance(result, RevokedError)
        if reported:
            await self._finish(result)
            self._report()
        if await self._teardown() and not reported:
            self._attempt.parts.uplink.send(Stopped(self._attempt.ref))
        return reported

    async def _finish(self, result: Result) -> None:
        """Fix the end in the journal, durably, so that no crash from here on can lose or change it."""
        attempt = self._attempt
        cause, reason = attempt.pushes.failure if result is True else _describe(result)
        entry = replace(attempt.entry, phase=Phase.FINISHED, cause=cause, reason=reason)
        attempt.entry = entry if result is True else replace(entry, outcome="")
        await failpoint("attempt_before_finish")
        await attempt.save(sync=True)
        await failpoint("attempt_after_finish")

    async def _teardown(self) -> bool:
        """Take everything down; whether all of it went."""
        clean = True
        for hook in TEARDOWN:
            try:
                await hook.down(self._attempt)
            except Exception:
                clean = False
                log.exception("teardown failed", extra={"attempt_id": self._attempt.id, "step": type(hook).__name__})
        return clean


def _describe(error: BaseException) -> tuple[str, str]:
    if isinstance(error, HostError):
        return error.cause, str(error)[:2000]
    log.error("attempt failed unexpectedly", exc_info=error)
    return HostError.cause, f"unexpected {type(error).__name__} on the host"
