"""Projects: a repository and the defaults of its tickets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CompleteOn(StrEnum):
    MERGED = "merged"
    OPENED = "opened"


@dataclass(frozen=True, slots=True)
class ProjectSpec:
    name: str
    repository: str = ""
    default_branch: str = ""
    agent: str = ""
    test_command: str = ""
    max_concurrency: int = 0
    complete_on: CompleteOn = CompleteOn.MERGED
    workflow: str = ""
    stall_timeout_s: int | None = None  # of tickets that name none; None: the host's; 0: never


@dataclass(frozen=True, slots=True)
class Project:
    id: str
    tenant_id: str
    spec: ProjectSpec
    created_at: float
