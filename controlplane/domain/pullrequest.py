"""Pull requests as the local forge records them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PullRequestState(StrEnum):
    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class PullRequest:
    id: str
    number: int
    project_id: str
    ticket_id: str
    ticket_key: str
    title: str
    body: str
    state: PullRequestState
    base_branch: str
    head_branch: str
    base: str
    head: str
    created_at: float
    merge_commit: str = ""
    additions: int = 0
    deletions: int = 0
    changed_files: int = 0
    url: str = ""
    merged_at: float | None = None
