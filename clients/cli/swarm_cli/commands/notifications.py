"""`swarm notifications ...`."""

from __future__ import annotations

import click

from swarm_cli.context import App, command
from swarm_cli.render import ago, table, text
from swarm_sdk.types import Channel, Notification, NotificationKind, Preferences, name_of, to_dict

KINDS = [name.removeprefix("NOTIFICATION_KIND_").lower() for name in NotificationKind.keys()[1:]]
CHANNELS = [name.removeprefix("CHANNEL_").lower() for name in Channel.keys()[1:]]


@click.group()
def cli() -> None:
    """Read what you are told, and choose where; `swarm login` first."""


@command(cli, "list", examples="  swarm notifications list --unread")
@click.option("--unread", is_flag=True, help="Only what you have not read.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
async def list_(app: App, unread: bool, limit: int) -> None:
    """List your inbox, newest first."""
    async with app.client() as client:
        found = await client.notifications.list(unread=unread, limit=limit)
    if app.as_json:
        app.emit([to_dict(each) for each in found])
    else:
        app.out.print(table(["NOTIFICATION", "AGE", "READ", "WHAT"], [_row(each) for each in found]))


@command(cli, "read", examples="  swarm notifications read nt_01h…\n  swarm notifications read --all")
@click.argument("notification_id", required=False, default="")
@click.option("--all", "everything", is_flag=True, help="All of them.")
async def read(app: App, notification_id: str, everything: bool) -> None:
    """Read one, or mark all as read."""
    if bool(notification_id) == everything:
        raise click.UsageError("name one notification, or say --all")
    async with app.client() as client:
        if everything:
            count = await client.notifications.read_all()
            return app.emit({"read": count}) if app.as_json else app.note(f"{count} marked as read")
        found = await client.notifications.read(notification_id)
    if app.as_json:
        return app.emit(to_dict(found))
    app.out.print(f"{text(found.title)}\n{text(found.text)}".rstrip(), highlight=False)
    return None


@command(
    cli,
    "preferences",
    examples="  swarm notifications preferences\n"
    "  swarm notifications preferences --rule question_asked=browser,email --rule ticket_failed=slack",
)
@click.option("--rule", "rules", multiple=True, metavar="KIND=CHANNEL,…", help="May be repeated; no channel: nowhere.")
@click.option("--slack-url", default=None, help="Incoming webhook; empty: none.")
async def preferences(app: App, rules: tuple[str, ...], slack_url: str | None) -> None:
    """Show or change where you are told of what. Rules that you do not name stay."""
    changes = dict(map(_rule, rules))
    async with app.client() as client:
        shown = await client.notifications.preferences()
        if changes or slack_url is not None:
            before = {rule.kind: list(rule.channels) for rule in shown.rules}
            shown = await client.notifications.prefer({**before, **changes}, slack_webhook_url=slack_url)
    if app.as_json:
        app.emit(to_dict(shown))
    else:
        _show(app, shown)


def _rule(given: str) -> tuple[NotificationKind.ValueType, list[Channel.ValueType]]:
    kind, equals, names = given.partition("=")
    channels = [name for name in names.split(",") if name]
    if not equals or kind not in KINDS or not set(channels) <= set(CHANNELS):
        raise click.BadParameter(f"{given}: KIND is of {', '.join(KINDS)}; channels are {', '.join(CHANNELS)}")
    chosen = [Channel.Value(f"CHANNEL_{name.upper()}") for name in dict.fromkeys(channels)]
    return NotificationKind.Value(f"NOTIFICATION_KIND_{kind.upper()}"), chosen


def _row(each: Notification) -> list[str]:
    read_at = ago(each.read_at) if each.HasField("read_at") else "no"
    return [each.id, ago(each.created_at), read_at, text(each.title, 70)]


def _show(app: App, shown: Preferences) -> None:
    rows = []
    for rule in shown.rules:
        names = [Channel.Name(channel).removeprefix("CHANNEL_").lower() for channel in rule.channels]
        rows.append([name_of(rule, "kind"), " ".join(names) or "nowhere"])
    app.out.print(table(["KIND", "WHERE"], rows))
    slack = "configured" if shown.slack_configured else "not configured"
    fault = f": {text(shown.slack_fault)}" if shown.slack_fault else ""
    app.note(f"slack: {slack}{fault}; e-mail: {'available' if shown.email_available else 'not available here'}")
