"""Incoming webhooks of Slack. Only hosts of a list are called, by HTTPS, and no redirect leads elsewhere."""

from __future__ import annotations

import ssl
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from controlplane.domain.user import refused
from controlplane.errors import FailedPrecondition, InvalidInput, RateLimited, SwarmError, Unavailable

TIMEOUT: Final = aiohttp.ClientTimeout(total=15)
LONGEST_ANSWER: Final = 1000
FIELD: Final = "/preferences/slack_webhook_url"
OK: Final = 200
TOO_MANY: Final = 429
SERVER_ERROR: Final = 500
LONGEST_WAIT_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class SlackWebhook:
    """Implements notices.Webhook. `hosts` are HOST or HOST:PORT as they stand in URLs."""

    hosts: Collection[str]

    def check(self, url: str) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            raise refused(FIELD, "must be a URL") from None
        if parts.scheme != "https" or parts.netloc.lower() not in self.hosts:
            raise refused(FIELD, f"must begin with https:// and one of {', '.join(self.hosts)}")
        if not url.isascii() or not url.isprintable() or " " in url or parts.fragment or len(parts.path) <= 1:
            raise refused(FIELD, "must be the whole URL that Slack shows")

    async def post(self, url: str, text: str) -> None:
        try:
            self.check(url)
        except InvalidInput:  # the list is another than when it was taken
            raise FailedPrecondition("the host of the webhook is not allowed here", reason="slack_refused") from None
        try:
            async with (
                aiohttp.ClientSession(timeout=TIMEOUT) as session,
                session.post(url, json={"text": text}, allow_redirects=False, ssl=_trust()) as answer,
            ):
                words = (await answer.content.read(LONGEST_ANSWER)).decode(errors="replace").strip()
                if answer.status != OK:
                    raise _refusal(answer.status, words, answer.headers.get("Retry-After", ""))
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise Unavailable(f"Slack cannot be reached: {type(fault).__name__}", reason="slack_failed") from None


def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


def _refusal(status: int, words: str, retry_after: str) -> SwarmError:
    """Whatever else than 429 and 5xx is answered, such as `no_service`, is answered to the next try too."""
    said = f"Slack answered {status} {words[:100]}".rstrip()
    if status == TOO_MANY:
        wait = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 1.0
        return RateLimited(said, retry_after_s=min(wait, LONGEST_WAIT_S))
    if status >= SERVER_ERROR:
        return Unavailable(said, reason="slack_failed")
    return FailedPrecondition(said, reason="slack_refused")
