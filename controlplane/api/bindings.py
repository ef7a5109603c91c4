"""The four kinds of handler. Which one a method is decides what the unit of work around it looks like."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.message import Message

from controlplane.api.methods import Method
from controlplane.domain.call import Call
from controlplane.errors import StartError
from controlplane.ports import Reader, Tx
from controlplane.usecases.services import Services


@dataclass(frozen=True, slots=True)
class Query:
    """Reads one snapshot."""

    run: Callable[[Reader, Call, Any], Message]


@dataclass(frozen=True, slots=True)
class Command:
    """Changes the store only: look-up of the key, handler, audit row and remembered answer are one commit.

    `before` may look at the outside first; it changes nothing and refuses by raising. `after` the commit, what is kept
    in memory may be brought up to date before the caller is answered.
    """

    run: Callable[[Tx, Call, Any], Message]
    before: Callable[[Services, Call, Any], Awaitable[None]] | None = None
    after: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """Acts on the outside too, so that its audit rows stand before and after it.

    `keyed`: it makes its repetitions safe by itself, by `call.key`, and writes its audit row. Nothing of its answer is
    kept, and it ends when its caller goes. `ongoing`: it keeps or ends work that runs, and is taken while new work is
    refused.
    """

    run: Callable[[Services, Call, Any], Awaitable[Message]]
    keyed: bool = False
    ongoing: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """Answers many messages; gets one request, or their iterator where the client streams."""

    run: Callable[[Services, Call, Any], AsyncGenerator[Message, None]]


Binding: TypeAlias = Query | Command | Action | Stream
Bindings: TypeAlias = Mapping[str, Binding]


def check(methods: Mapping[str, Method], bindings: Bindings) -> None:
    """Every method has a handler of a fitting kind, and every handler a method; a `StartError` names all that fail."""
    faults = [f"{name} has no handler" for name in methods if name not in bindings]
    faults += [f"{name} is handled but not served" for name in bindings if name not in methods]
    faults += [
        f"{name} needs another kind of handler than {type(binding).__name__}"
        for name, binding in bindings.items()
        if name in methods and not fits(methods[name], binding)
    ]
    if faults:
        raise StartError("; ".join(faults))


def fits(method: Method, binding: Binding) -> bool:
    """A stream is served by a Stream, a read by no Command, and what is audited by no Query."""
    if method.streaming or isinstance(binding, Stream):
        return method.streaming and isinstance(binding, Stream)
    return not (isinstance(binding, Query) and (method.audit or method.idempotent))
