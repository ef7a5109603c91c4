"""The ground on which the noun modules stand: one session, page tokens, and the topics that a unit of work touched."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from peewee import Field, ModelSelect

from controlplane.domain.event import NewEvent
from controlplane.domain.ticket import Ticket
from controlplane.ports import Page
from controlplane.stores.memory import Memory
from controlplane.stores.pending import Pending
from controlplane.stores.session import Row, Session
from controlplane.stores.tokens import Tokens, page_size

T = TypeVar("T")


def _encoder() -> Callable[[object], str]:
    """The C encoder, made once: each call of json's own makes one. Without it, json's own."""
    plain = json.JSONEncoder(separators=(",", ":"))
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    write = make(
        markers=None,
        default=plain.default,
        encoder=json.encoder.encode_basestring_ascii,
        indent=None,
        key_separator=":",
        item_separator=",",
        sort_keys=False,
        skipkeys=False,
        allow_nan=True,
    )
    return lambda value: "".join(write(value, 0))


_encode: Final = _encoder()


class Unit:
    """Base of the reading and the writing halves; `raw` is the session itself, `group` what earlier units put off.

    `topics` is what the bus is told after the commit.
    `touched` holds the ids of what the memory was told, for the case that the work is undone; `moved` the tickets as
    they are after it, `listed` its events of the topic of all tickets, and `upto` the number of the last of them.
    """

    def __init__(
        self, session: Session, tokens: Tokens, memory: Memory | None = None, group: Pending | None = None
    ) -> None:
        self.raw = session
        self.pending = Pending()
        self.group = Pending() if group is None else group
        self.tokens = tokens
        self.memory = memory or Memory()
        self.topics: set[str] = set()
        self.touched: set[str] = set()
        self.moved: dict[str, Ticket] = {}
        self.listed: list[NewEvent] = []
        self.upto = 0

    @property
    def session(self) -> Session:
        """The session, after whatever was put off: no statement misses it."""
        self.flush()
        return self.raw

    def flush(self) -> None:
        """Write what was put off by this unit of work and by those before it in its group; see `Pending`."""

    def page(
        self, query: ModelSelect[Any], key: Field[Any], scope: tuple[object, ...], page: Page, read: Callable[[Row], T]
    ) -> tuple[list[T], str]:
        """Run a page of a query in the order of `key`, a unique column that is selected as its last."""
        if page.token:
            query = query.where(key > self.tokens.read(json.dumps(scope), page.token))
        found = self.session.select(query.order_by(key).limit(page_size(page.size) + 1))
        return self.cut(found, scope, page, read)

    def cut(
        self, found: Sequence[Row], scope: tuple[object, ...], page: Page, read: Callable[[Row], T]
    ) -> tuple[list[T], str]:
        """What was found, up to one row more than the page holds; each ends with its position."""
        size, name = page_size(page.size), json.dumps(scope)
        more = self.tokens.make(name, found[size - 1][-1]) if len(found) > size else ""
        return [read(row[:-1]) for row in found[:size]], more


def pack(value: object) -> str:
    """Write compact JSON that every database takes, lone surrogates and NUL escaped."""
    return _encode(value)


def unpack(text: str) -> Any:
    return json.loads(text)
