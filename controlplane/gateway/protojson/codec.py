"""A message type to JSON and back, and all types of one API for `Any`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from controlplane.errors import FailedPrecondition
from controlplane.gateway.protojson.collection import Decode
from controlplane.gateway.protojson.faults import DEEPEST, Faults, Refused, step
from controlplane.gateway.protojson.parse import parse
from controlplane.gateway.protojson.scalar import quote

# Stands for a key that is not there, where null is a value.
ABSENT: Final = object()


class Unrepresentable(FailedPrecondition):
    """An answer holds what JSON cannot say, such as NaN in a Struct."""

    default_reason = "not_json"


def encoded(text: Callable[[Any], str], message: Message) -> bytes:
    """The JSON that `text` makes of the message."""
    try:
        return text(message).encode()
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, Refused) else "holds what JSON cannot say"
        raise Unrepresentable(f"{message.DESCRIPTOR.full_name} {why}") from None


@dataclass(frozen=True, slots=True)
class Codec:
    """One type. `own`: its JSON is no object of its fields, as of well-known types."""

    new: type[Message]
    text: Callable[[Any], str]
    read: Decode
    own: bool = False

    def encode(self, message: Message) -> bytes:
        """Fields without presence are always there. `Unrepresentable` where JSON has no such value."""
        return encoded(self.text, message)

    def decode(self, body: bytes) -> Message:
        """`InvalidInput` with all faults, each with its pointer."""
        message, faults = self.new(), Faults()
        self.read(parse(body), message, "", faults)
        faults.end()
        return message


@dataclass(frozen=True, slots=True)
class AnyTypes:
    """What an `Any` may hold: the types of one API by full name, filled in when its codecs are loaded."""

    codecs: dict[str, Codec] = field(default_factory=dict)

    def encode(self, m: Any) -> str:
        if not m.type_url and not m.value:
            return "{}"
        codec = self.codecs.get(m.type_url.rpartition("/")[2])
        if codec is None:
            raise Refused(f"holds the type {m.type_url!r}, which is not known here")
        message = codec.new()
        try:
            message.ParseFromString(m.value)
        except DecodeError:
            raise Refused(f"holds bytes that are no {m.type_url!r}") from None
        return _with_type(quote(m.type_url), codec.text(message), own=codec.own)

    def decode(self, json: Any, m: Any, at: str, faults: Faults) -> None:
        if type(json) is not dict:
            faults.add(at, "must be an object")
        elif at.count("/") >= DEEPEST:
            faults.add(at, "is nested too deeply")
        elif json:
            self._decode(json, m, at, faults)

    def _decode(self, json: Mapping[str, Any], m: Any, at: str, faults: Faults) -> None:
        url = json.get("@type")
        if type(url) is not str:
            faults.add(step(at, "@type"), "must name the type")
            return
        codec = self.codecs.get(url.rpartition("/")[2])
        if codec is None or "/" not in url:
            faults.add(step(at, "@type"), f"{url[:200]!r} is no type that is known here")
            return
        message, before = codec.new(), len(faults.found)
        rest = {key: value for key, value in json.items() if key != "@type"}
        if not codec.own:
            codec.read(rest, message, at, faults)
        elif "value" not in rest:
            faults.add(step(at, "value"), "is missing")
        else:
            codec.read(rest.pop("value"), message, step(at, "value"), faults)
            for key in rest:
                faults.add(step(at, key), "is not known")
        if len(faults.found) == before:
            m.type_url, m.value = url, message.SerializePartialToString(deterministic=True)


def _with_type(url: str, text: str, *, own: bool) -> str:
    if own:
        return f'{{"@type":{url},"value":{text}}}'
    return f'{{"@type":{url}}}' if text == "{}" else f'{{"@type":{url},{text[1:]}'
