"""`swarm run-ticket`."""

from __future__ import annotations

import click

from swarm_cli.context import WORK_FAILED, App, command
from swarm_cli.follow import GONE_WRONG, follow
from swarm_sdk.types import TicketState, to_dict


@click.group()
def _root() -> None: ...


@command(_root, "run-ticket", examples="  swarm run-ticket TKT-003 --wait")
@click.argument("ident", metavar="ID")
@click.option("--wait", is_flag=True, help="Watch until the ticket has settled; exit 8 if it failed.")
async def cli(app: App, ident: str, wait: bool) -> None:
    """Set a ticket going: release a held one, retry a failed or cancelled one."""
    async with app.client() as client:
        ticket = await client.tickets.get(ident)
        if ticket.state == TicketState.TICKET_STATE_PENDING:
            ticket = await client.tickets.release(ident)
        elif ticket.state in GONE_WRONG:
            ticket = await client.tickets.retry(ident)
        if wait:
            (ticket,) = await follow(app, client, [ticket])
    if app.as_json:
        app.emit(to_dict(ticket))
    else:
        app.note(f"{ticket.key} {TicketState.Name(ticket.state).removeprefix('TICKET_STATE_').lower()}")
    if wait and ticket.state in GONE_WRONG:
        raise SystemExit(WORK_FAILED)
