"""What the user who is logged in is told, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from swarm.notification.v1 import service_pb2 as pb
from swarm.notification.v1.notification_pb2 import Channel, Notification, NotificationKind, Preferences, Rule
from swarm.notification.v1.service_pb2_grpc import NotificationServiceStub
from swarm_sdk.paging import Paged
from swarm_sdk.transport import Transport


class Notifications:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = NotificationServiceStub(transport.channel)

    def list(self, *, unread: bool = False, limit: int = 0) -> Paged[Notification]:
        """Newest first; all, unless there is a limit."""

        async def page(token: str, size: int) -> tuple[Sequence[Notification], str]:
            request = pb.ListNotificationsRequest(page_size=size, page_token=token, unread=unread)
            answer = await self._transport.read(self._stub.ListNotifications, request)
            return answer.notifications, answer.next_page_token

        return Paged(page, limit)

    async def unread(self) -> int:
        request = pb.ListNotificationsRequest(page_size=1)
        return (await self._transport.read(self._stub.ListNotifications, request)).unread_count

    async def read(self, notification_id: str) -> Notification:
        """Marks one as read."""
        answer = await self._transport.change(self._stub.MarkRead, pb.MarkReadRequest(id=notification_id))
        return answer.notification

    async def read_all(self) -> int:
        """Marks all as read; how many were not."""
        return (await self._transport.change(self._stub.MarkAllRead, pb.MarkAllReadRequest())).read

    async def preferences(self) -> Preferences:
        answer = await self._transport.read(self._stub.GetPreferences, pb.GetPreferencesRequest())
        return answer.preferences

    async def prefer(
        self,
        channels: Mapping[NotificationKind.ValueType, Iterable[Channel.ValueType]],
        *,
        slack_webhook_url: str | None = None,
    ) -> Preferences:
        """Replaces all rules; a kind that is not named goes to the browser. Without a URL, Slack's stays as it is."""
        rules = [Rule(kind=kind, channels=chosen) for kind, chosen in channels.items()]
        wanted = Preferences(rules=rules, slack_webhook_url=slack_webhook_url)
        request = pb.UpdatePreferencesRequest(preferences=wanted)
        return (await self._transport.change(self._stub.UpdatePreferences, request)).preferences
