"""What people are told, where they want it, and their pictures, in every store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from controlplane.domain.avatar import Avatar
from controlplane.domain.call import Role
from controlplane.domain.event import NewEvent
from controlplane.domain.notification import Channel, Kind, Notice, Notification, Preferences, Recipient, topic_of
from controlplane.domain.tenant import Tenant
from controlplane.domain.user import User
from controlplane.errors import InvalidInput
from controlplane.ports import Page, Store, Tx
from tests.fakes.seeds import NOW
from tests.fakes.units import all_of

ANN = User("us_1", "default", "ann@example.org", "Ann", Role.ADMIN, NOW)
BOB = User("us_2", "default", "bob@example.org", "Bob", Role.VIEWER, NOW)
EVE = User("us_3", "other", "eve@example.org", "Eve", Role.ADMIN, NOW)
OTHER = Tenant("other", "Other", NOW)
WANTED = Preferences({Kind.TICKET_FAILED: frozenset({Channel.EMAIL, Channel.SLACK})}, "sealed", "gone")


def told(number: int, user: User = ANN, at: float = NOW) -> Notification:
    notice = Notice(Kind.QUESTION_ASKED, f"ticket:tk_{number}", f"title {number}", "text")
    return Notification(f"nt_{number:02d}", user.id, notice, at)


@pytest.fixture
async def peopled(store: Store) -> Store:
    await store.write(all_of(lambda tx: tx.add_tenant(OTHER), *(adding(user) for user in (ANN, BOB, EVE))))
    return store


def adding(user: User) -> Callable[[Tx], None]:
    return lambda tx: tx.add_user(user)


async def inbox(store: Store, user: User = ANN, *, page: Page | None = None, unread: bool = False) -> list[str]:
    found, _ = await store.read(lambda reader: reader.notifications(user.id, page or Page(), unread=unread))
    return [each.id for each in found]


async def test_recipients_are_those_of_the_tenant_who_may_log_in_with_what_they_want(peopled: Store) -> None:
    store = peopled
    await store.write(lambda tx: tx.save_preferences(ANN.id, WANTED))
    found = await store.read(lambda reader: reader.recipients("default"))
    assert found == [
        Recipient(ANN.id, ANN.email, Role.ADMIN, WANTED),
        Recipient(BOB.id, BOB.email, Role.VIEWER, Preferences()),
    ]
    await store.write(lambda tx: tx.save_user(replace(BOB, disabled_at=NOW)))
    await store.write(lambda tx: tx.save_tenant(replace(OTHER, disabled_at=NOW)))
    assert [each.user_id for each in await store.read(lambda reader: reader.recipients("default"))] == [ANN.id]
    assert await store.read(lambda reader: reader.recipients("other")) == []


async def test_preferences_are_kept_whole_and_replaced(peopled: Store) -> None:
    store = peopled
    assert await store.read(lambda reader: reader.preferences(ANN.id)) == Preferences()
    for kept in (WANTED, replace(WANTED, slack="", slack_fault=""), Preferences({Kind.HOST_LOST: frozenset()})):
        await store.write(lambda tx, kept=kept: tx.save_preferences(ANN.id, kept))  # type: ignore[misc]
        assert await store.read(lambda reader: reader.preferences(ANN.id)) == kept
    assert await store.read(lambda reader: reader.preferences(BOB.id)) == Preferences()


async def test_an_inbox_goes_from_new_to_old_and_holds_nothing_of_others(peopled: Store) -> None:
    store = peopled
    await store.write(lambda tx: tx.add_notifications([told(each, BOB if each == 3 else ANN) for each in range(1, 6)]))
    assert await inbox(store) == ["nt_05", "nt_04", "nt_02", "nt_01"]
    assert await inbox(store, BOB) == ["nt_03"]
    assert await store.read(lambda reader: reader.notification(ANN.id, "nt_03")) is None
    assert await store.read(lambda reader: reader.notification(BOB.id, "nt_03")) == told(3, BOB)
    first, token = await store.read(lambda reader: reader.notifications(ANN.id, Page(size=3), unread=False))
    await store.write(lambda tx: tx.add_notifications([told(9)]))
    rest, end = await store.read(lambda reader: reader.notifications(ANN.id, Page(3, token), unread=False))
    assert ([each.id for each in first + rest], end) == (["nt_05", "nt_04", "nt_02", "nt_01"], "")
    for user, unread in ((BOB, False), (ANN, True)):
        with pytest.raises(InvalidInput):
            await inbox(store, user, page=Page(3, token), unread=unread)


async def test_what_was_read_counts_once_and_for_its_owner_only(peopled: Store) -> None:
    store = peopled
    await store.write(lambda tx: tx.add_notifications([told(1), told(2), told(3), told(4, BOB)]))
    marks = await store.write(lambda tx: [tx.mark_read(user.id, NOW + 1, "nt_01") for user in (BOB, ANN, ANN)])
    assert marks == [0, 1, 0]
    assert await store.read(lambda reader: reader.notification(ANN.id, "nt_01")) == replace(told(1), read_at=NOW + 1)
    assert (await inbox(store, unread=True), await store.read(lambda r: r.unread(ANN.id))) == (["nt_03", "nt_02"], 2)
    assert await store.write(lambda tx: [tx.mark_read(ANN.id, NOW + 2), tx.mark_read(ANN.id, NOW + 3)]) == [2, 0]
    unread = await store.read(lambda reader: (reader.unread(ANN.id), reader.unread(BOB.id)))
    assert unread == (0, 1)
    first = await store.read(lambda reader: reader.notification(ANN.id, "nt_01"))
    assert first is not None
    assert first.read_at == NOW + 1


async def test_what_is_old_is_forgotten_with_its_events_and_nothing_else(peopled: Store) -> None:
    store = peopled
    await store.write(lambda tx: tx.add_notifications([told(1), told(2, at=NOW + 10)]))
    for at in (NOW, NOW + 10):
        events = [NewEvent(topic, "notification.created", {}) for topic in (topic_of(ANN.id), "ticket:tk_1")]
        await store.write(lambda tx, events=events, at=at: tx.add_events(events, at))  # type: ignore[misc]
    await store.write(lambda tx: tx.forget_notifications(NOW + 5))
    assert await inbox(store) == ["nt_02"]
    kept = await store.read(lambda reader: [reader.events(each, 0, 9) for each in (topic_of(ANN.id), "ticket:tk_1")])
    assert [[event.time for event in events] for events in kept] == [[NOW + 10], [NOW, NOW + 10]]


async def test_a_picture_is_replaced_and_dropped(peopled: Store) -> None:
    store = peopled
    for image in (b"\0one", b"two"):
        await store.write(lambda tx, image=image: tx.save_avatar(ANN.id, Avatar(image, "image/webp", NOW)))  # type: ignore[misc]
    assert await store.read(lambda reader: reader.avatar(ANN.id)) == Avatar(b"two", "image/webp", NOW)
    assert await store.read(lambda reader: reader.avatar(BOB.id)) is None
    assert await store.write(lambda tx: [tx.drop_avatar(ANN.id), tx.drop_avatar(ANN.id)]) == [True, False]
    assert await store.read(lambda reader: reader.avatar(ANN.id)) is None


async def test_nothing_is_told_of_what_was_not_committed(peopled: Store) -> None:
    def fail(_: object) -> None:
        raise InvalidInput("no")

    with pytest.raises(InvalidInput):
        await peopled.write(
            all_of(lambda tx: tx.add_notifications([told(1)]), lambda tx: tx.save_preferences(ANN.id, WANTED), fail)
        )
    assert await inbox(peopled) == []
    assert await peopled.read(lambda reader: reader.preferences(ANN.id)) == Preferences()
