"""A fleet and a forge that remember what they were asked and answer what a test prepared."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controlplane.domain.image import Image, Template
from controlplane.domain.lease import LeaseRef
from controlplane.domain.project import Project
from controlplane.domain.pullrequest import PullRequest
from controlplane.domain.vm import VmSample
from controlplane.errors import InvalidInput, SwarmError, Unavailable
from controlplane.ports import Assignment, CommandUpdate, DiffStat, FileStat, MergeResult


@dataclass
class FakeFleet:
    """Implements ports.Fleet. `answers` maps a verb to updates, or to an error of the host."""

    hosts: set[str] = field(default_factory=set)
    answers: dict[str, Sequence[CommandUpdate] | SwarmError] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    sampled: list[VmSample] = field(default_factory=list)

    def connected(self) -> frozenset[str]:
        return frozenset(self.hosts)

    def assign(self, assignments: Sequence[Assignment]) -> None:
        self.calls += [("assign", one.ticket.id) for one in assignments]

    def revoke(self, host_id: str, attempt_id: str, ticket_id: str, fence: int, reason: str) -> None:
        self.calls.append(("revoke", host_id, attempt_id, ticket_id, fence, reason))

    def answer(self, host_id: str, ref: LeaseRef, number: int, text: str) -> None:
        self.calls.append(("answer", host_id, ref, number, text))

    def cordon(self, host_id: str, *, cordoned: bool) -> None:
        self._need(host_id)
        self.calls.append(("cordon", host_id, cordoned))

    async def command(self, host_id: str, verb: str, arguments: Mapping[str, Any]) -> AsyncIterator[CommandUpdate]:
        self._need(host_id)
        self.calls.append((verb, host_id, dict(arguments)))
        answer = self.answers.get(verb, ())
        if isinstance(answer, SwarmError):
            raise answer
        for update in answer:
            yield update

    async def console(self, host_id: str, vm_id: str, keys: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self._need(host_id)
        async for key in keys:
            yield key

    def images(self, host_id: str = "") -> list[Image]:
        return []

    def templates(self, host_id: str = "") -> list[Template]:
        return []

    def samples(self, host_id: str, vm_id: str) -> list[VmSample]:
        return self.sampled

    def _need(self, host_id: str) -> None:
        if host_id not in self.hosts:
            raise Unavailable(f"host {host_id} is away")


@dataclass
class FakeForge:
    """Implements ports.Forge over nothing: merges answer `result`, diffs `patch`."""

    result: MergeResult = field(default_factory=lambda: MergeResult("m" * 40))
    patch: bytes = b""
    unreadable: set[str] = field(default_factory=set)
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    async def probe(self, repository: str) -> str:
        self.calls.append(("probe", repository))
        if repository in self.unreadable:
            raise InvalidInput(f"cannot read {repository}", reason="repository_unreadable")
        return "main"

    async def publish(self, project: Project, ticket_key: str, head: str) -> None:
        self.calls.append(("publish", ticket_key, head))

    async def remove_attempts(self, project: Project, ticket_key: str, head: str) -> tuple[str, ...]:
        self.calls.append(("remove_attempts", ticket_key, head))
        return (f"refs/heads/swarm/{ticket_key}/a1",)

    async def diff(self, project: Project, base: str, head: str, limit: int) -> tuple[bytes, bool]:
        self.calls.append(("diff", base, head))
        return self.patch[:limit], len(self.patch) > limit

    async def stat(self, project: Project, base: str, head: str) -> DiffStat:
        return DiffStat(1, 0, 1)

    async def files(self, project: Project, base: str, head: str) -> list[FileStat]:
        return [FileStat("a.txt", additions=1)]

    async def merge_base(self, project: Project, branch: str, head: str) -> str:
        self.calls.append(("merge_base", branch, head))
        return "n" * 40

    async def merge(self, project: Project, pull_request: PullRequest, message: str) -> MergeResult:
        self.calls.append(("merge", pull_request.id, pull_request.base_branch))
        return self.result
