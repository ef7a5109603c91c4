"""What people are told without asking, and where they want to be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from controlplane.domain.call import Role
from controlplane.domain.ticket import Ticket, TicketState, TicketType

LONGEST_TEXT: Final = 1000
MAIL: Final = "mail_notice"  # kinds of effects
SLACK: Final = "slack_notice"


class Kind(StrEnum):
    TICKET_FAILED = "ticket_failed"
    PULL_REQUEST_OPENED = "pull_request_opened"
    QUESTION_ASKED = "question_asked"
    BUILD_FINISHED = "build_finished"
    HOST_LOST = "host_lost"


class Channel(StrEnum):
    BROWSER = "browser"
    EMAIL = "email"
    SLACK = "slack"


UNLESS_TOLD: Final = frozenset({Channel.BROWSER})


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people are told. `subject` is what it is about, such as "ticket:tk_…"."""

    kind: Kind
    subject: str
    title: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Notification:
    """A notice in the inbox of one user."""

    id: str
    user_id: str
    notice: Notice
    created_at: float
    read_at: float | None = None


@dataclass(frozen=True, slots=True)
class Preferences:
    """Where a user is told of what. `slack` is the sealed webhook; `slack_fault` why Slack refused it for good."""

    channels: Mapping[Kind, frozenset[Channel]] = field(default_factory=dict)
    slack: str = field(default="", repr=False)
    slack_fault: str = ""

    def of(self, kind: Kind) -> frozenset[Channel]:
        """The channels of a kind; the browser, where nothing was said."""
        return self.channels.get(kind, UNLESS_TOLD)


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody who may log in."""

    user_id: str
    email: str
    role: Role
    preferences: Preferences


def topic_of(user_id: str) -> str:
    """Where its events are, which nobody else may follow."""
    return f"user:{user_id}"


def notice_of(before: Ticket, after: Ticket) -> Notice | None:
    """What a move of a ticket tells people; None for nearly all of them."""
    kind = _kind(before, after)
    if kind is None:
        return None
    title, text = _words(kind, after)
    return Notice(kind, f"ticket:{after.id}", title, text[:LONGEST_TEXT])


def host_lost(host_id: str, name: str, tickets: int) -> Notice:
    """A host that stopped renewing what it held."""
    text = f"{tickets} tickets were taken back from it and are placed anew."
    return Notice(Kind.HOST_LOST, f"host:{host_id}", f"Host {name} is gone", text)


def _kind(before: Ticket, after: Ticket) -> Kind | None:
    if after.pull_request_id and after.pull_request_id != before.pull_request_id:
        return Kind.PULL_REQUEST_OPENED
    state = after.state
    if state is before.state:
        return None
    if after.spec.type is TicketType.EPIC:
        over = state is TicketState.COMPLETED or state is TicketState.FAILED
        return Kind.BUILD_FINISHED if over else None
    if state is TicketState.FAILED:
        return Kind.TICKET_FAILED
    return Kind.QUESTION_ASKED if state is TicketState.WAITING else None


def _words(kind: Kind, ticket: Ticket) -> tuple[str, str]:
    name = f"{ticket.key}: {ticket.spec.title}"
    if kind is Kind.PULL_REQUEST_OPENED:
        return f"Pull request for {name}", "It is open for review."
    if kind is Kind.QUESTION_ASKED:
        return f"Question about {name}", ticket.question
    if kind is Kind.BUILD_FINISHED:
        return f"Build {ticket.state}: {name}", ticket.state_reason
    why = ticket.state_reason or (ticket.causes[-1] if ticket.causes else "")
    return f"Failed: {name}", f"{why}\nIt needs a person: nothing tries it again." if ticket.dead_letter else why
