"""What an `Any` may hold: the types of one API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from google.protobuf.message import DecodeError, Message

from controlplane.gateway.protojson.faults import DEEPEST, Faults, step
from controlplane.gateway.protojson.scalar import quote
from ext.jsonreader import read
from ext.jsontable import Refused, Table
from ext.jsonwriter import write

# Their JSON is no object of their fields, so it stands under a key of its own.
_APART: Final = frozenset(
    f"google.protobuf.{name}"
    for name in (
        *("Any", "Duration", "FieldMask", "ListValue", "Struct", "Timestamp", "Value"),
        *("BoolValue", "BytesValue", "DoubleValue", "FloatValue", "Int32Value", "Int64Value", "StringValue"),
        *("UInt32Value", "UInt64Value"),
    )
)


class Typed(Protocol):
    """A type with its tables."""

    @property
    def new(self) -> type[Message]: ...
    @property
    def table(self) -> Table: ...


@dataclass(frozen=True, slots=True)
class AnyTypes:
    """`types` are by full name."""

    types: Mapping[str, Typed]

    def encode(self, m: Any) -> str:
        if not m.type_url and not m.value:
            return "{}"
        found = self.types.get(name := m.type_url.rpartition("/")[2])
        if found is None:
            raise Refused(f"holds the type {m.type_url!r}, which is not known here")
        try:
            held = found.new.FromString(m.value)
        except DecodeError:
            raise Refused(f"holds bytes that are no {m.type_url!r}") from None
        text = write(found.table, held.SerializePartialToString()).decode()
        return _with_type(quote(m.type_url), text, apart=name in _APART)

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
        found = self.types.get(name := url.rpartition("/")[2])
        if found is None or "/" not in url:
            faults.add(step(at, "@type"), f"{url[:200]!r} is no type that is known here")
            return
        before = len(faults.found)
        rest = {key: value for key, value in json.items() if key != "@type"}
        wire = _apart(found, rest, at, faults) if name in _APART else read(found.table, rest, at, faults)
        if len(faults.found) == before:
            held = found.new.FromString(wire)
            m.type_url, m.value = url, held.SerializePartialToString(deterministic=True)


def _apart(found: Typed, rest: dict[str, Any], at: str, faults: Faults) -> bytes:
    if "value" not in rest:
        faults.add(step(at, "value"), "is missing")
        return b""
    wire = read(found.table, rest.pop("value"), step(at, "value"), faults)
    for key in rest:
        faults.add(step(at, key), "is not known")
    return wire


def _with_type(url: str, text: str, *, apart: bool) -> str:
    if apart:
        return f'{{"@type":{url},"value":{text}}}'
    return f'{{"@type":{url}}}' if text == "{}" else f'{{"@type":{url},{text[1:]}'
