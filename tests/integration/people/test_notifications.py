"""Notifications from what happens to a ticket to the person who reads them, through real parts."""

from __future__ import annotations

import logging

import apsw
import pytest

from swarm_sdk import Client, FailedPreconditionError, NotFoundError, SwarmError, TicketSpec
from swarm_sdk.types import Channel, NotificationKind, Role, TenantSpec
from tests.fakes import host as fake
from tests.fakes.control import eventually
from tests.fakes.mail import MailServer
from tests.fakes.slack import Slack
from tests.integration.accounts.people import Town

FAILED = NotificationKind.NOTIFICATION_KIND_TICKET_FAILED
ASKED = NotificationKind.NOTIFICATION_KIND_QUESTION_ASKED
TENANT = TenantSpec(name="Acme")
BROWSER, EMAIL, SLACK = Channel.CHANNEL_BROWSER, Channel.CHANNEL_EMAIL, Channel.CHANNEL_SLACK


async def ask(town: Town, question: str = "Blue or green?", assignee: str = "") -> str:
    """Has an agent ask something; answers the key of its ticket."""
    made = await town.admin.tickets.create(TicketSpec(title="Paint <it>", agent="echo", assignee=assignee))
    async with town.control.host() as host:
        ref = (await host.assignment()).attempt
        await host.deliver(fake.started(ref), fake.running(ref), fake.asked(ref, question))
        await town.admin.tickets.cancel(made.id)
    return made.key


async def inbox(client: Client) -> list[str]:
    return [each.title for each in await client.notifications.list()]


async def test_a_question_reaches_the_inbox_of_everybody_in_the_tenant_and_of_nobody_else(town: Town) -> None:
    await town.admin.admin.create_tenant("acme", TENANT)
    ann, bob = await town.person("ann"), await town.person("bob", Role.ROLE_VIEWER)
    eve = await town.person("eve", Role.ROLE_ADMIN, tenant="acme")
    key = await ask(town)
    found = await ann.notifications.list()
    assert [(each.kind, each.title, each.text) for each in found] == [
        (ASKED, f"Question about {key}: Paint <it>", "Blue or green?")
    ]
    assert await inbox(bob) == await inbox(ann)
    assert await inbox(eve) == []
    with pytest.raises(NotFoundError):
        await eve.notifications.read(found[0].id)
    with pytest.raises(NotFoundError):
        await bob.notifications.read(found[0].id)
    with pytest.raises(FailedPreconditionError) as caught:
        await town.admin.notifications.list()
    assert caught.value.reason == "no_account"


async def test_who_a_ticket_is_assigned_to_is_told_alone(town: Town) -> None:
    ann, bob = await town.person("ann"), await town.person("bob")
    await ask(town, assignee="ann@example.org")
    assert len(await inbox(ann)) == 1
    assert await inbox(bob) == []


async def test_reading_counts_once_and_pages_go_from_new_to_old(town: Town) -> None:
    ann = await town.person("ann")
    keys = [await ask(town) for _ in range(3)]
    titles = await inbox(ann)
    assert titles == [f"Question about {key}: Paint <it>" for key in reversed(keys)]
    newest, *older = await ann.notifications.list()
    assert [each.id for each in await ann.notifications.list(limit=2)] == [newest.id, older[0].id]
    first = await ann.notifications.read(newest.id)
    assert first.HasField("read_at")
    assert await ann.notifications.read(newest.id) == first
    assert await ann.notifications.unread() == 2
    assert [each.id for each in await ann.notifications.list(unread=True)] == [each.id for each in older]
    assert (await ann.notifications.read_all(), await ann.notifications.read_all()) == (2, 0)
    assert await ann.notifications.unread() == 0


async def test_what_happened_is_an_event_of_the_topic_of_its_reader(town: Town) -> None:
    ann = await town.settle("ann")
    await ask(town)
    connection = apsw.Connection(str(town.control.config.database))
    rows = list(connection.execute("SELECT topic, type FROM event WHERE topic LIKE 'user:%'"))
    assert rows == [(f"user:{ann}", "notification.created")]


async def test_a_mail_comes_to_who_wants_one(town: Town, mails: MailServer) -> None:
    mails.refusals = ["451 come back later"]
    ann = await town.person("ann")
    await town.person("bob")
    await ann.notifications.prefer({ASKED: [EMAIL]})
    key = await ask(town, question="Blue?\r\nBcc: everybody@example.org")
    recipient, subject, text = await mails.mail()
    assert (recipient, subject) == ("ann@example.org", f"[Swarm] Question about {key}: Paint <it>")
    assert "Blue?" in text
    assert len(mails.mails) == 1
    assert await inbox(ann) == []


async def test_a_mail_that_is_refused_for_good_is_given_up(
    town: Town, mails: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    ann = await town.person("ann")
    await ann.notifications.prefer({ASKED: [EMAIL]})
    mails.refusals = ["554 no such user"]
    with caplog.at_level(logging.WARNING):
        await ask(town)
        await eventually(lambda: undone(town), 0)
    assert "is given up" in caplog.text
    assert mails.mails == []


async def undone(town: Town) -> int:
    connection = apsw.Connection(str(town.control.config.database))
    sql = "SELECT count(*) FROM effect WHERE done_at IS NULL AND kind LIKE '%_notice'"
    return int(next(iter(connection.execute(sql)))[0])


async def test_slack_is_told_again_until_it_takes_it(town: Town, slack: Slack) -> None:
    ann = await town.person("ann")
    shown = await ann.notifications.prefer({ASKED: [SLACK, BROWSER]}, slack_webhook_url=slack.url)
    assert shown.slack_configured
    slack.answers = [(429, "rate_limited", {"Retry-After": "1"}), (500, "server_error", {})]
    key = await ask(town)
    await slack.until(3)
    assert slack.texts == [f"*Question about {key}: Paint &lt;it&gt;*\nBlue or green?"]
    assert len(await inbox(ann)) == 1
    await eventually(lambda: undone(town), 0)


@pytest.mark.parametrize(
    ("status", "words"), [(400, "invalid_payload"), (403, "action_prohibited"), (404, "no_service"), (410, "gone")]
)
async def test_what_slack_refuses_for_good_is_told_to_its_owner(
    town: Town, slack: Slack, status: int, words: str
) -> None:
    ann = await town.person("ann")
    await ann.notifications.prefer({ASKED: [SLACK]}, slack_webhook_url=slack.url)
    slack.answers = [(status, words, {})]
    await ask(town)
    await slack.until(1)
    await eventually(lambda: undone(town), 0)
    assert (await ann.notifications.preferences()).slack_fault == f"Slack answered {status} {words}"
    assert slack.posts == 1


async def test_slack_leads_nowhere_else_by_a_redirect(town: Town, slack: Slack) -> None:
    ann = await town.person("ann")
    await ann.notifications.prefer({ASKED: [SLACK]}, slack_webhook_url=slack.url)
    slack.answers = [(307, "", {"Location": f"https://{slack.host}/services/elsewhere"})]
    await ask(town)
    await slack.until(1)
    await eventually(lambda: undone(town), 0)
    assert slack.posts == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://{host}/services/x",
        "https://169.254.169.254/latest/meta-data",
        "https://{host}.example.org/services/x",
        "https://{host}@169.254.169.254/x",
        "https://user@{host}/services/x",
        "https://{host}",
        "https://{host}/services/ x",
        "https://[/x",
        "file:///etc/passwd",
    ],
)
async def test_only_webhooks_of_slack_are_called(town: Town, slack: Slack, url: str) -> None:
    ann = await town.person("ann")
    with pytest.raises(SwarmError) as caught:
        await ann.notifications.prefer({ASKED: [SLACK]}, slack_webhook_url=url.format(host=slack.host))
    assert caught.value.violations[0].field == "/preferences/slack_webhook_url"


async def test_the_webhook_is_never_shown_and_never_stored_in_clear(town: Town, slack: Slack) -> None:
    ann = await town.person("ann")
    shown = await ann.notifications.prefer({ASKED: [SLACK]}, slack_webhook_url=slack.url)
    assert "secret" not in str(shown) + str(await ann.notifications.preferences())
    connection = apsw.Connection(str(town.control.config.database))
    for table in ("notification_preferences", "audit", "answer", "effect", "event"):
        assert "/T0/B0" not in str(list(connection.execute(f"SELECT * FROM {table}")))  # noqa: S608  # our own names


async def test_preferences_name_every_kind_and_refuse_what_leads_nowhere(town: Town, slack: Slack) -> None:
    ann = await town.person("ann")
    rules = {rule.kind: list(rule.channels) for rule in (await ann.notifications.preferences()).rules}
    assert rules == {kind: [BROWSER] for kind in NotificationKind.values()[1:]}
    with pytest.raises(SwarmError) as caught:
        await ann.notifications.prefer({FAILED: [SLACK]})
    assert caught.value.violations[0].field == "/preferences/slack_webhook_url"
    await ann.notifications.prefer({FAILED: [SLACK], ASKED: []}, slack_webhook_url=slack.url)
    kept = await ann.notifications.prefer({FAILED: [BROWSER], ASKED: []})
    assert kept.slack_configured
    assert not (await ann.notifications.prefer({}, slack_webhook_url="")).slack_configured
