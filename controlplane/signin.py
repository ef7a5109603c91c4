"""Puts accounts together: the keys in the state directory, who stands, and what is configured around it."""

from __future__ import annotations

import asyncio
import logging
import os
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
from controlplane.accounts.tokens import Tokens
from controlplane.config import Config
from controlplane.errors import StartError, SwarmError
from controlplane.ports import Bus, Store
from controlplane.reconcile.mails import Mails
from controlplane.usecases.accounts.parts import Accounts
from controlplane.usecases.accounts.setup import offer_setup

SETUP_FILE: Final = "setup.url"
UPKEEP_S: Final = 3600.0

log = logging.getLogger(__name__)


async def signing_in(
    stack: AsyncExitStack, config: Config, store: Store, bus: Bus, tokens: Tokens
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
        refresh=live.refresh,
        mails=bool(config.smtp_url),
        github=github(config),
        signup_domains=config.signup_domains,
    )
    return accounts, Authenticator(tokens, access, live, store)


async def hourly(store: Store, keys: SigningKeys) -> None:
    while True:
        await asyncio.sleep(UPKEEP_S)
        with suppress(SwarmError):
            await keep_up(store, keys)


async def keep_up(store: Store, keys: SigningKeys) -> None:
    """Forgets what is over, and signs with a new key once the last one is old."""
    now = store.now()
    await store.write(lambda tx: tx.forget_credentials(now))
    if keys.due(now):
        keys.rotate(now)


def github(config: Config) -> Github | None:
    if not config.github_client_id or config.github_client_secret is None:
        return None
    try:
        secret = config.github_client_secret.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise StartError(f"cannot read github_client_secret: {fault}", reason="bad_configuration") from None
    return Github(
        client_id=config.github_client_id,
        client_secret=secret,
        redirect_url=config.github_redirect_url,
        url=config.github_url,
        api_url=config.github_api_url,
    )


def mails(config: Config) -> Mails | None:
    return Mails(SmtpMailer.at(config.smtp_url, config.smtp_from), config.http_url) if config.smtp_url else None


async def leave_setup_link(store: Store, state_dir: Path, url: str) -> None:
    """A link in a file that only its owner can read, as long as there is no user."""
    file, token = state_dir / SETUP_FILE, await offer_setup(store)
    file.unlink(missing_ok=True)
    if token:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as out:
            out.write(f"{url}/setup#token={token}\n")
        log.info("there is no account yet; open the link in the file", extra={"file": str(file)})
