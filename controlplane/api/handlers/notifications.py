"""NotificationService."""

from __future__ import annotations

from controlplane.api.bindings import Bindings, Command, Query
from controlplane.api.convert.common import page_in
from controlplane.api.convert.notification import notification_out, preferences_out, wish_in
from controlplane.domain.call import Call
from controlplane.ports import Reader, Tx
from controlplane.usecases import inbox
from controlplane.usecases.inbox import Notices
from swarm.notification.v1 import service_pb2 as pb

SERVICE = "swarm.notification.v1.NotificationService"


def bindings(notices: Notices) -> Bindings:
    def get_preferences(reader: Reader, call: Call, _request: pb.GetPreferencesRequest) -> pb.GetPreferencesResponse:
        found = inbox.get_preferences(reader, call)
        return pb.GetPreferencesResponse(preferences=preferences_out(found, mails=notices.mails))

    def update_preferences(tx: Tx, call: Call, request: pb.UpdatePreferencesRequest) -> pb.UpdatePreferencesResponse:
        after = inbox.set_preferences(tx, notices, call, wish_in(request.preferences))
        return pb.UpdatePreferencesResponse(preferences=preferences_out(after, mails=notices.mails))

    return {
        f"{SERVICE}.GetPreferences": Query(get_preferences),
        f"{SERVICE}.UpdatePreferences": Command(update_preferences),
        f"{SERVICE}.ListNotifications": Query(list_notifications),
        f"{SERVICE}.MarkRead": Command(mark_read),
        f"{SERVICE}.MarkAllRead": Command(mark_all_read),
    }


def list_notifications(
    reader: Reader, call: Call, request: pb.ListNotificationsRequest
) -> pb.ListNotificationsResponse:
    found, token, unread = inbox.list_notifications(reader, call, page_in(request), unread=request.unread)
    shown = [notification_out(each) for each in found]
    return pb.ListNotificationsResponse(notifications=shown, next_page_token=token, unread_count=unread)


def mark_read(tx: Tx, call: Call, request: pb.MarkReadRequest) -> pb.MarkReadResponse:
    return pb.MarkReadResponse(notification=notification_out(inbox.mark_read(tx, call, request.id)))


def mark_all_read(tx: Tx, call: Call, _request: pb.MarkAllReadRequest) -> pb.MarkAllReadResponse:
    return pb.MarkAllReadResponse(read=inbox.mark_all_read(tx, call))
