"""Tickets that open a WebSocket: browsers cannot send a header with one, and a token has no place in a URL."""

from __future__ import annotations

import json

from controlplane.domain import lifetimes
from controlplane.domain.call import Call
from controlplane.domain.credential import OneTimeToken, Purpose, digest_of, new_secret
from controlplane.ports import Tx


def create_ticket(tx: Tx, call: Call) -> tuple[str, float]:
    """The ticket and when it expires."""
    who, secret, until = call.principal, new_secret(Purpose.WS_TICKET.prefix), call.now + lifetimes.WS_TICKET
    data = json.dumps([who.name, int(who.role), who.tenant_id, who.user_id, who.login_id])
    tx.add_one_time_token(OneTimeToken(digest_of(secret), Purpose.WS_TICKET, who.user_id, until, data))
    return secret, until
