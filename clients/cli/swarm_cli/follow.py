"""Follows tickets to their end: a live table in a terminal, a line per change elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from rich.live import Live
from rich.table import Table

from swarm_cli.context import App
from swarm_cli.render import TICKET_COLUMNS, boot, table, text, ticket_rows
from swarm_sdk.client import Client
from swarm_sdk.tickets import is_settled
from swarm_sdk.types import Ticket, TicketState, name_of

GONE_WRONG = frozenset({TicketState.TICKET_STATE_FAILED, TicketState.TICKET_STATE_CANCELLED})
HELD_BACK = frozenset({TicketState.TICKET_STATE_BLOCKED, TicketState.TICKET_STATE_PENDING})
TICKS_PER_SECOND = 4


@dataclass(slots=True)
class Watch:
    """The newest known form of the tickets that are followed, by id and in order."""

    tickets: dict[str, Ticket] = field(default_factory=dict)

    def settled(self) -> bool:
        """Whether nothing more happens without a person."""
        return all(is_settled(ticket) or self.stuck(ticket) for ticket in self.tickets.values())

    def stuck(self, ticket: Ticket) -> bool:
        """Whether a ticket waits for one that went wrong."""
        if ticket.state not in HELD_BACK:
            return False
        known = [self.tickets[ident] for ident in ticket.spec.depends_on if ident in self.tickets]
        return any(other.state in GONE_WRONG or self.stuck(other) for other in known)

    def failed(self) -> list[Ticket]:
        return [each for each in self.tickets.values() if each.state in GONE_WRONG or self.stuck(each)]

    def table(self, width: int = 60) -> Table:
        return table(TICKET_COLUMNS, ticket_rows(self.tickets.values(), width))


async def follow(app: App, client: Client, tickets: Iterable[Ticket]) -> list[Ticket]:
    """Shows the tickets until all are settled; returns their last form, in order."""
    watch = Watch({ticket.id: ticket for ticket in tickets})
    show = _live if app.out.is_terminal and not app.as_json else _lines
    await show(app, client, watch)
    return list(watch.tickets.values())


async def _changes(client: Client, watch: Watch) -> AsyncIterator[Ticket]:
    """Tickets as they change, until all are settled; feeds `watch`."""
    if watch.settled():
        return
    async with contextlib.aclosing(client.tickets.watch_all(watch.tickets)) as answers:
        async for answer in answers:
            watch.tickets[answer.ticket.id] = answer.ticket
            yield answer.ticket
            if watch.settled():
                return


async def _live(app: App, client: Client, watch: Watch) -> None:
    with Live(watch.table(), console=app.out, auto_refresh=False) as live:

        def draw() -> None:
            live.update(watch.table(max(20, app.out.width - 110)), refresh=True)

        async def tick() -> None:
            while True:  # elapsed times move although nothing else does
                draw()
                await asyncio.sleep(1 / TICKS_PER_SECOND)

        ticker = asyncio.create_task(tick())
        try:
            async for _ in _changes(client, watch):
                pass
        finally:
            ticker.cancel()
            draw()


async def _lines(app: App, client: Client, watch: Watch) -> None:
    seen: dict[str, str] = {}
    async for ticket in _changes(client, watch):
        state = name_of(ticket, "state")
        if seen.get(ticket.id) != state:
            seen[ticket.id] = state
            app.note(_line(ticket, state))
    if not app.as_json:
        app.out.print(watch.table())


def _line(ticket: Ticket, state: str) -> str:
    tier, booted, ready = boot(ticket.current_attempt.boot)
    parts = [f"{ticket.key:8} {state:10} {text(ticket.spec.title, 40)}"]
    if tier:
        parts.append(
            f"[{ticket.current_attempt.vm_id[:11]} {tier} boot {booted} ms, ready {ready or '…'} ms]".replace(
                "[", "\\["
            )
        )
    if ticket.state_reason:
        parts.append(text(ticket.state_reason, 160))
    return "  ".join(parts)
