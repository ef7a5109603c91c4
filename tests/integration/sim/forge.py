"""Upstream branches and a forge that fails now and then, before or after it did its work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controlplane.domain.project import Project
from controlplane.domain.pullrequest import PullRequest
from controlplane.errors import Unavailable
from controlplane.ports import DiffStat, MergeResult

if TYPE_CHECKING:
    from tests.integration.sim.world import World


class SimForge:
    def __init__(self, world: World) -> None:
        self.world = world
        self.heads: dict[str, tuple[str, int]] = {}  # head -> (ticket, fence)
        self.published: dict[str, list[str]] = {}  # ticket key -> heads, in order

    def push(self, ticket_id: str, fence: int) -> str:
        """An attempt's head, unlike any other's."""
        head = f"{len(self.heads) + 1:040x}"
        self.heads[head] = (ticket_id, fence)
        return head

    async def publish(self, project: Project, ticket_key: str, head: str) -> None:
        if self.world.chance(0.2):
            raise Unavailable("upstream is away")
        heads = self.published.setdefault(ticket_key, [])
        if not heads or heads[-1] != head:
            heads.append(head)
        if self.world.chance(0.2):
            raise Unavailable("the answer got lost")

    async def probe(self, repository: str) -> str:
        return "main"

    async def stat(self, project: Project, base: str, head: str) -> DiffStat:
        return DiffStat(1, 0, 1)

    async def merge_base(self, project: Project, branch: str, head: str) -> str:
        return "b" * 40

    async def diff(self, project: Project, base: str, head: str, limit: int) -> tuple[bytes, bool]:
        raise NotImplementedError

    async def remove_attempts(self, project: Project, ticket_key: str, head: str) -> tuple[str, ...]:
        return ()

    async def merge(self, project: Project, pull_request: PullRequest, message: str) -> MergeResult:
        raise NotImplementedError
