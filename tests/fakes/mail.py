"""A mail server that keeps what it gets. It may refuse first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import Any

from aiosmtpd.smtp import SMTP


@dataclass
class MailServer:
    """`refusals` are the answers to the next mails, taken from the front."""

    port: int = 0
    mails: list[tuple[str, str, str]] = field(default_factory=list)  # recipient, subject, text
    refusals: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  # as it is called
        if self.refusals:
            return self.refusals.pop(0)
        message = message_from_bytes(envelope.content, policy=policy.default)
        text = message.get_content()
        self.mails += [(each, str(message["Subject"]), text) for each in envelope.rcpt_tos]
        self.arrived.set()
        return "250 OK"

    async def mail(self, count: int = 1) -> tuple[str, str, str]:
        """The newest, once there are so many."""
        async with asyncio.timeout(60):
            while len(self.mails) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.mails[-1]


@asynccontextmanager
async def mail_server(port: int = 0) -> AsyncIterator[MailServer]:
    made = MailServer()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(made, loop=loop), "127.0.0.1", port)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await server.wait_closed()
