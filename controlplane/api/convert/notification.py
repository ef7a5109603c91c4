"""Notifications, and where people want them."""

from __future__ import annotations

from collections import Counter

from controlplane.api.convert.common import enum_out, timestamp
from controlplane.domain.notification import Channel, Kind, Notification, Preferences
from controlplane.domain.user import refused
from controlplane.usecases.inbox import Wish
from swarm.notification.v1 import notification_pb2 as pb


def notification_out(one: Notification) -> pb.Notification:
    return pb.Notification(
        id=one.id,
        kind=enum_out(pb.NotificationKind, "NOTIFICATION_KIND", one.notice.kind),
        title=one.notice.title,
        text=one.notice.text,
        subject=one.notice.subject,
        created_at=timestamp(one.created_at),
        read_at=timestamp(one.read_at),
    )


def preferences_out(preferences: Preferences, *, mails: bool) -> pb.Preferences:
    rules = [_rule_out(kind, preferences) for kind in Kind]
    return pb.Preferences(
        rules=rules,
        slack_configured=bool(preferences.slack),
        slack_fault=preferences.slack_fault,
        email_available=mails,
    )


def wish_in(preferences: pb.Preferences) -> Wish:
    kinds = Counter(rule.kind for rule in preferences.rules)
    if twice := [kind for kind, count in kinds.items() if count > 1]:
        raise refused("/preferences/rules", f"{pb.NotificationKind.Name(twice[0])} is named twice")
    channels = {_kind_in(rule.kind): frozenset(map(_channel_in, rule.channels)) for rule in preferences.rules}
    slack = preferences.slack_webhook_url if preferences.HasField("slack_webhook_url") else None
    return Wish(channels, slack)


def _rule_out(kind: Kind, preferences: Preferences) -> pb.Rule:
    channels = [enum_out(pb.Channel, "CHANNEL", each) for each in sorted(preferences.of(kind))]
    return pb.Rule(kind=enum_out(pb.NotificationKind, "NOTIFICATION_KIND", kind), channels=channels)


def _kind_in(kind: pb.NotificationKind.ValueType) -> Kind:
    return Kind[pb.NotificationKind.Name(kind).removeprefix("NOTIFICATION_KIND_")]


def _channel_in(channel: pb.Channel.ValueType) -> Channel:
    return Channel[pb.Channel.Name(channel).removeprefix("CHANNEL_")]
