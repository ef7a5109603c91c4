"""Tells people of what happens, in the commit in which it happens. Nothing is read where nothing is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from controlplane.domain.call import HOME, Role
from controlplane.domain.event import Effect, NewEvent
from controlplane.domain.ids import new_id
from controlplane.domain.notification import (
    MAIL,
    SLACK,
    Channel,
    Notice,
    Notification,
    Recipient,
    host_lost,
    notice_of,
    topic_of,
)
from controlplane.domain.ticket import Ticket
from controlplane.ports import Reader, Tx


def tell_of_moves(tx: Tx, moves: Iterable[tuple[Ticket, Ticket]], now: float) -> None:
    """Of tickets: whom one is assigned to; where that is nobody with an account, everybody of its tenant."""
    for before, after in moves:
        if notice := notice_of(before, after):
            tell(tx, notice, _concerned(tx, after), now)


def tell_of_hosts(tx: Tx, lost: Mapping[str, int], now: float) -> None:
    """Of hosts that are gone, by id with the number of their tickets: the operators of the deployment."""
    operators = [each for each in tx.recipients(HOME) if each.role >= Role.OPERATOR]
    names = {host.id: host.name for host in tx.hosts_by_id(list(lost))} if operators else {}
    for host_id, name in names.items():
        tell(tx, host_lost(host_id, name, lost[host_id]), operators, now)


def tell(tx: Tx, notice: Notice, recipients: Sequence[Recipient], now: float) -> None:
    """Puts it into inboxes, and leaves one effect per other channel and recipient to the outbox."""
    inbox: list[Notification] = []
    effects: list[Effect] = []
    for recipient in recipients:
        ident, channels = new_id("nt", now), recipient.preferences.of(notice.kind)
        if Channel.BROWSER in channels:
            inbox.append(Notification(ident, recipient.user_id, notice, now))
        what = {"user_id": recipient.user_id, "subject": notice.subject, "title": notice.title, "text": notice.text}
        effects += [Effect(f"{kind}:{ident}", kind, what) for channel, kind in _OUTSIDE if channel in channels]
    if inbox:
        tx.add_notifications(inbox)
        tx.add_events([_event(each) for each in inbox], now)
    if effects:
        tx.add_effects(effects, now)


_OUTSIDE = ((Channel.EMAIL, MAIL), (Channel.SLACK, SLACK))


def _concerned(reader: Reader, ticket: Ticket) -> list[Recipient]:
    everybody, assignee = reader.recipients(ticket.tenant_id), ticket.spec.assignee
    chosen = [each for each in everybody if assignee and assignee.lower() in {each.user_id, each.email}]
    return chosen or everybody


def _event(each: Notification) -> NewEvent:
    notice = each.notice
    data = {"id": each.id, "kind": notice.kind, "title": notice.title, "text": notice.text, "subject": notice.subject}
    return NewEvent(topic_of(each.user_id), "notification.created", data)
