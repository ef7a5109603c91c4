"""One way in over HTTP, as the generator writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class Route:
    """`method` is a full name such as "swarm.ticket.v1.TicketService.GetTicket"; `verb` is "GET", or "*" for any.

    `decode` takes path variables, pairs of the query and the body, and raises `InvalidInput`; `encode` gives the JSON
    of one answer, with `response_body` applied.
    """

    method: str
    verb: str
    template: str
    client_streaming: bool
    server_streaming: bool
    decode: Callable[[Mapping[str, str], Sequence[tuple[str, str]], bytes], Message]
    encode: Callable[[Message], bytes]
    has_body: bool
