"""Mail through one SMTP server, `smtp://[user[:password]@]host[:port]` (STARTTLS where it is offered) or `smtps://`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Final, Self
from urllib.parse import unquote, urlsplit

import aiosmtplib

from controlplane.errors import FailedPrecondition, Unavailable

TIMEOUT_S: Final = 20.0
GREETING_S: Final = 4.0
PORTS: Final = {"smtp": 25, "smtps": 465}
PERMANENT: Final = 500


@dataclass(frozen=True, slots=True)
class SmtpMailer:
    """Implements identity.Mailer."""

    host: str
    port: int
    tls: bool
    sender: str
    username: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def at(cls, url: str, sender: str) -> Self:
        """As the configuration has checked it."""
        parts = urlsplit(url)
        return cls(
            host=parts.hostname or "",
            port=parts.port or PORTS[parts.scheme],
            tls=parts.scheme == "smtps",
            sender=sender,
            username=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
        )

    async def send(self, recipient: str, subject: str, text: str, *, ident: str = "") -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, recipient, subject
        message["Message-ID"] = f"<{ident.replace(':', '.')}@swarm>" if ident else make_msgid(domain="swarm")
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await aiosmtplib.send(
                    message,
                    hostname=self.host,
                    port=self.port,
                    use_tls=self.tls,
                    username=self.username or None,
                    password=self.password or None,
                    timeout=TIMEOUT_S,
                )
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
        smtp = aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            use_tls=self.tls,
            username=self.username or None,
            password=self.password or None,
            timeout=GREETING_S,
        )
        try:
            async with smtp:
                await smtp.noop()
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as fault:
            raise _refused(f"the mail server cannot be used: {str(fault)[:200]}", permanent=False) from None


def _refused(words: str, *, permanent: bool) -> FailedPrecondition | Unavailable:
    if permanent:
        return FailedPrecondition(words, reason="mail_refused")
    return Unavailable(words, reason="mail_failed")
