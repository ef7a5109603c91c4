"""Upstream branches, and a forge that fails now and then, before or after it did its work."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from controlplane.domain.project import Project
from controlplane.domain.pullrequest import PullRequest
from controlplane.errors import Unavailable
from controlplane.ports import Assignment, Base, DiffStat, FileStat, MergeResult
from hostd.messages import AttemptRef
from tests.sim.history import History


class SimForge:
    """Implements ports.Forge. `heads` says who pushed each head, `published` where each branch of a PR was."""

    def __init__(
        self, history: History, chance: random.Random, fails: Callable[[], bool], slowest_s: float = 0.5
    ) -> None:
        self._history = history
        self._chance = chance
        self._fails = fails
        self._slowest_s = slowest_s
        self.heads: dict[str, tuple[str, int]] = {}
        self.published: dict[str, list[str]] = {}
        self.merges: dict[str, int] = {}

    def push(self, ref: AttemptRef) -> str:
        """An attempt's branch: its head is unlike any other's."""
        head = f"{len(self.heads) + 1:040x}"
        self.heads[head] = (ref.ticket_id, ref.fence)
        self._history.note("forge.push", ticket=ref.ticket_id, fence=ref.fence, head=head)
        return head

    async def publish(self, project: Project, ticket_key: str, head: str) -> None:
        await self._reach("upstream is away")
        heads = self.published.setdefault(ticket_key, [])
        if not heads or heads[-1] != head:
            heads.append(head)
            self._history.note("forge.publish", key=ticket_key, head=head)
        await self._reach("the answer got lost")

    async def probe(self, repository: str) -> str:
        return "main"

    async def stat(self, project: Project, base: str, head: str) -> DiffStat:
        return DiffStat(1, 0, 1)

    async def files(self, project: Project, base: str, head: str) -> list[FileStat]:
        return [FileStat("a.txt", additions=1)]

    async def merge_base(self, project: Project, branch: str, head: str) -> str:
        return "b" * 40

    async def diff(self, project: Project, base: str, head: str, limit: int) -> tuple[bytes, bool]:
        return b"", False

    async def merge(self, project: Project, pull_request: PullRequest, message: str) -> MergeResult:
        await self._reach("upstream is away")
        # As git has it: what is merged already gives the same commit again.
        number = self.merges.setdefault(pull_request.head, len(self.merges) + 1)
        await self._reach("the answer got lost")
        return MergeResult(f"{number:039x}f")

    async def remove_attempts(self, project: Project, ticket_key: str, head: str) -> tuple[str, ...]:
        return ()

    async def _reach(self, trouble: str) -> None:
        await asyncio.sleep(self._chance.uniform(0.0, self._slowest_s))
        if self._fails():
            raise Unavailable(trouble)


class NoWorkspaces:
    """Implements ports.Workspaces where nobody claims anything: agents run on hosts only."""

    async def prepare(self, assignment: Assignment) -> Base:
        raise Unavailable("no external agents here")

    async def head(self, attempt_id: str) -> str:
        raise Unavailable("no external agents here")

    async def inspect(self, attempt_id: str, head: str) -> tuple[str, ...]:
        raise Unavailable("no external agents here")

    async def publish(self, assignment: Assignment, head: str) -> None:
        raise Unavailable("no external agents here")

    async def discard(self, attempt_id: str) -> None:
        """There is none."""

    async def present(self) -> list[str]:
        return []
