"""Mail through one SMTP server, `smtp://[user[:password]@]host[:port]` (STARTTLS where it is offered) or `smtps://`."""

from __future__ import annotations

import asyncio
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import aiosmtplib

from controlplane.errors import FailedPrecondition, Unavailable
from controlplane.secret import Secret

TIMEOUT_S: Final = 20.0
GREETING_S: Final = 4.0
PORTS: Final = {"smtp": 25, "smtps": 465}
PERMANENT: Final = 500


class SmtpMailer:
    """Implements identity.Mailer."""

    def __init__(self, url: Secret, sender: str) -> None:
        self._url = url
        self._sender = sender

    def renew(self, url: Secret | None) -> None:
        """Another server, or another password for it. Without one it stays as it is until the next start."""
        self._url = url or self._url

    async def send(self, recipient: str, subject: str, text: str, *, ident: str = "") -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._sender, recipient, subject
        message["Message-ID"] = f"<{ident.replace(':', '.')}@swarm>" if ident else make_msgid(domain="swarm")
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await aiosmtplib.send(message, timeout=TIMEOUT_S, **server(self._url.reveal()))
        except aiosmtplib.SMTPRecipientsRefused as fault:
            permanent = all(each.code >= PERMANENT for each in fault.recipients)
            raise _refused("the mail server does not take the recipient", permanent=permanent) from None
        except aiosmtplib.SMTPResponseException as fault:
            words = f"the mail server answered {fault.code} {str(fault.message)[:200]}"
            raise _refused(words, permanent=fault.code >= PERMANENT) from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as fault:
            raise _refused(f"the mail server cannot be reached: {str(fault)[:200]}", permanent=False) from None

    async def greet(self) -> None:
        """Logs in and out again. Unavailable when that is not possible."""
        smtp = aiosmtplib.SMTP(timeout=GREETING_S, **server(self._url.reveal()))
        try:
            async with smtp:
                await smtp.noop()
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as fault:
            raise _refused(f"the mail server cannot be used: {str(fault)[:200]}", permanent=False) from None


def server(url: str) -> dict[str, Any]:
    """Where and as whom to connect, as the library is told."""
    parts = urlsplit(url)
    return {
        "hostname": parts.hostname,
        "port": parts.port or PORTS[parts.scheme],
        "use_tls": parts.scheme == "smtps",
        "username": unquote(parts.username or "") or None,
        "password": unquote(parts.password or "") or None,
    }


def _refused(words: str, *, permanent: bool) -> FailedPrecondition | Unavailable:
    if permanent:
        return FailedPrecondition(words, reason="mail_refused")
    return Unavailable(words, reason="mail_failed")
