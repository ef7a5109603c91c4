"""One thing that is done to many tickets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BulkAction(StrEnum):
    ASSIGN = "assign"
    TAG = "tag"
    PRIORITIZE = "prioritize"
    RELEASE = "release"
    RETRY = "retry"
    CANCEL = "cancel"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Wish:
    """Every action has its fields: `assignee` to ASSIGN, tags to TAG, `priority` to PRIORITIZE, the rest to CANCEL."""

    action: BulkAction
    assignee: str = ""
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    priority: int = 0
    reason: str = ""
