"""Puts accounts together: the keys in the state directory, who stands, and what is configured around it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

from controlplane.accounts.access import JwtAccessTokens
from controlplane.accounts.authenticator import Authenticator
from controlplane.accounts.codes import TotpCodes
from controlplane.accounts.github import Github
from controlplane.accounts.live import Live
from controlplane.accounts.mail import SmtpMailer
from controlplane.accounts.passwords import Argon2Passwords
from controlplane.accounts.seal import FileSeal
from controlplane.accounts.signing import SigningKeys
from controlplane.accounts.slack import SlackWebhook
from controlplane.accounts.tokens import Tokens
from controlplane.config import Config
from controlplane.domain.lifetimes import DAY
from controlplane.domain.notification import MAIL, SLACK
from controlplane.errors import SwarmError
from controlplane.keyfile import create
from controlplane.ports import Bus, Store
from controlplane.ratelimits.shared import Shared
from controlplane.reconcile.mails import ResetMails
from controlplane.reconcile.messages import MailNotices, SlackNotices
from controlplane.reconcile.outbox import Sender
from controlplane.secret import Secrets
from controlplane.usecases.accounts.parts import Accounts
from controlplane.usecases.accounts.passwords import MAIL_RESET
from controlplane.usecases.accounts.setup import offer_setup
from controlplane.usecases.health import Outside
from controlplane.usecases.inbox import Notices

SETUP_FILE: Final = "setup.url"
UPKEEP_S: Final = 3600.0
NOTIFICATIONS_S: Final = 90 * DAY  # that an inbox goes back

log = logging.getLogger(__name__)


async def signing_in(
    stack: AsyncExitStack, config: Config, store: Store, bus: Bus, tokens: Tokens, *, secrets: Secrets
) -> tuple[Accounts, Authenticator]:
    """What use cases of accounts are given, and what tells who calls. `StartError` for keys that cannot be used."""
    keys, live, passwords = SigningKeys(config.state_dir), Live(store, bus), Argon2Passwords()
    stack.callback(passwords.close)
    seal, access = FileSeal.at(config.state_dir), JwtAccessTokens(keys)
    await keep_up(store, keys)
    await live.start()
    stack.push_async_callback(live.stop)
    upkeep = asyncio.create_task(hourly(store, keys), name="upkeep of accounts")
    stack.callback(upkeep.cancel)
    accounts = Accounts(
        store=store,
        passwords=passwords,
        codes=TotpCodes(),
        seal=seal,
        access=access,
        refresh=lambda: settled(live, config.state_dir),
        mails=secrets.get("SMTP_URL") is not None,
        github=github(config, secrets),
        signup_domains=config.signup_domains,
    )
    return accounts, Authenticator(tokens, access, live, store)


async def settled(live: Live, state_dir: Path) -> None:
    """What was committed counts; the setup link goes in the moment that there is somebody."""
    await live.refresh()
    if live.anybody:
        (state_dir / SETUP_FILE).unlink(missing_ok=True)


async def hourly(store: Store, keys: SigningKeys) -> None:
    while True:
        await asyncio.sleep(UPKEEP_S)
        with suppress(SwarmError):
            await keep_up(store, keys)


async def keep_up(store: Store, keys: SigningKeys) -> None:
    """Forgets what is over, and signs with a new key once the last one is old."""
    now = store.now()
    await store.write(lambda tx: tx.forget_credentials(now))
    await store.write(lambda tx: tx.forget_notifications(now - NOTIFICATIONS_S))
    if keys.due(now):
        keys.rotate(now)


def github(config: Config, secrets: Secrets) -> Github | None:
    if not config.github_client_id:
        return None
    return Github(
        client_id=config.github_client_id,
        client_secret=lambda: secrets.expect("GITHUB_CLIENT_SECRET"),
        redirect_url=config.github_redirect_url,
        url=config.github_url,
        api_url=config.github_api_url,
    )


def mail(config: Config, secrets: Secrets) -> SmtpMailer | None:
    if (url := secrets.get("SMTP_URL")) is None:
        return None
    mailer = SmtpMailer(url, config.smtp_from)
    secrets.on_change(lambda _: mailer.renew(secrets.get("SMTP_URL")))
    return mailer


def senders(config: Config, notices: Notices, mailer: SmtpMailer | None) -> Mapping[str, Sender]:
    """What performs the effects that people are told something by."""
    slack = {SLACK: SlackNotices(notices.webhook, notices.seal)}
    if mailer is None:
        return slack
    url = config.http_url
    return {MAIL_RESET: ResetMails(mailer, url), MAIL: MailNotices(mailer, url), **slack}


def telling(config: Config, accounts: Accounts) -> Notices:
    return Notices(accounts.seal, SlackWebhook(config.slack_hosts), mails=accounts.mails)


def outside(mailer: SmtpMailer | None, redis: Shared | None) -> Mapping[str, Outside]:
    """What its health is asked of over the network."""
    advice = "look at SWARM_SMTP_URL, and whether the mail server is up"
    missing = "passwords are reset by admins and nobody is told by mail; set SWARM_SMTP_URL"
    return {
        "mail": Outside(mailer.greet if mailer else None, advice, missing),
        "redis": Outside(
            redis.ping if redis else None,
            "look at SWARM_REDIS_URL; until it is back each replica counts calls alone",
            "limits count in this process; several replicas share them by SWARM_REDIS_URL",
        ),
    }


async def leave_setup_link(store: Store, state_dir: Path, url: str) -> None:
    """A link in a file that only its owner can read, as long as there is no user."""
    file, token = state_dir / SETUP_FILE, await offer_setup(store)
    file.unlink(missing_ok=True)
    if token:
        create(file, f"{url}/setup#token={token}\n".encode())
        log.info("there is no account yet; open the link in the file", extra={"file": str(file)})
