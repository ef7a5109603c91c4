"""The tables of generated modules made into those of the native codecs, once when they are loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from controlplane.gateway.protojson.kinds import KINDS
from controlplane.gateway.protojson.scalar import (
    base64_text,
    boolean,
    double,
    double_text,
    enum_closed,
    enum_open,
    integer,
    key_boolean,
    null_value,
    octets,
    single,
    single_text,
    string,
)
from controlplane.gateway.protojson.wellknown import duration, duration_text, timestamp
from ext.jsontable import Field, Table

_LONG: Final = frozenset({"int64", "uint64", "fixed64", "sfixed64", "sint64"})
_MESSAGES: Final = frozenset({"message", "group"})
_CONVERT: Final[Mapping[str, Callable[[Any], Any]]] = {
    "string": string,
    "bytes": octets,
    "bool": boolean,
    "float": single,
    "double": double,
}
_NULL: Final = "google.protobuf.NullValue"
_VALUE: Final = "google.protobuf.Value"
_OBJECT, _BARE, _ANY_JSON, _TIMESTAMP, _DURATION, _FOREIGN = range(6)
_WRAPPED: Final = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
_BARE_TYPES: Final = frozenset(
    f"google.protobuf.{name}" for name in ("Struct", "ListValue", *(f"{kind}Value" for kind in _WRAPPED))
)


@dataclass(frozen=True, slots=True)
class Enum:
    """Numbers by name, the first of aliases first."""

    numbers: Mapping[str, int]
    closed: bool = False

    @property
    def texts(self) -> Mapping[int, bytes]:
        return {number: json.dumps(name).encode() for name, number in reversed(list(self.numbers.items()))}


@dataclass(frozen=True, slots=True)
class Row:
    """One field. `kind` is that of its values, `of` their message or enum; `key` is the kind of the keys of a map.

    `json` is its other spelling. `oneof` names the oneof of several fields that it is in. `default` is what proto2
    says that an unset field has.
    """

    number: int
    name: str
    kind: str
    json: str = ""
    of: str = ""
    repeated: bool = False
    key: str = ""
    presence: bool = False
    required: bool = False
    oneof: str = ""
    default: Any = None


@dataclass(frozen=True, slots=True)
class Foreign:
    """A type whose JSON is made and read in Python, because it is rare: wire bytes to text, JSON to wire bytes."""

    write: Callable[[bytes], str]
    read: Callable[..., bytes]


@dataclass(frozen=True, slots=True)
class Tables:
    """All of one API."""

    messages: Mapping[str, Sequence[Row]]
    enums: Mapping[str, Enum]
    foreign: Mapping[str, Foreign]
    made: dict[str, Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.made.update({name: self._empty(name) for name in self.messages})
        for name, rows in self.messages.items():
            oneofs = list(dict.fromkeys(row.oneof for row in rows if row.oneof))
            fields = tuple(self._field(row, oneofs) for row in rows)
            pairs = zip(rows, fields, strict=True)
            self.made[name].fill(fields, {spelling: made for row, made in pairs for spelling in spellings(row)})

    def part(self, message: str, name: str) -> Table:
        """A table of the same message whose JSON is that of one field."""
        row = next(row for row in self.messages[message] if row.name == name)
        table = Table(f"{message}.{name}", _BARE)
        table.fill((self._field(row, []),), {})
        return table

    def _empty(self, name: str) -> Table:
        if name in self.foreign:
            return Table(name, _FOREIGN, write=self.foreign[name].write, read=self.foreign[name].read)
        if name == "google.protobuf.Timestamp":
            return Table(name, _TIMESTAMP, read=timestamp)
        if name == "google.protobuf.Duration":
            return Table(name, _DURATION, write=duration_text, read=duration)
        return Table(name, _ANY_JSON if name == _VALUE else _BARE if name in _BARE_TYPES else _OBJECT)

    def _field(self, row: Row, oneofs: Sequence[str]) -> Field:
        if row.key:
            entries = Table(row.name)
            entries.fill((self._key(row.key), self._one(Row(2, "value", row.kind, of=row.of, presence=True))), {})
            return Field(
                row.name, row.number, _number("message"), repeated=True, is_map=True, absent=b"{}", table=entries
            )
        return self._one(row, oneof=oneofs.index(row.oneof) if row.oneof in oneofs else -1)

    def _key(self, kind: str) -> Field:
        convert = key_boolean if kind == "bool" else _CONVERT.get(kind, integer)
        return Field("key", 1, _number(kind), convert=convert, absent=self._absent(Row(1, "key", kind)))

    def _one(self, row: Row, oneof: int = -1) -> Field:
        enum = self.enums.get(row.of) if row.of != _NULL else None
        return Field(
            row.name,
            row.number,
            _number(row.kind),
            repeated=row.repeated,
            presence=row.presence,
            required=row.required,
            null=not row.repeated and row.of in {_NULL, _VALUE},
            closed=enum is not None and enum.closed,
            oneof=oneof,
            absent=b"[]" if row.repeated else self._absent(row),
            table=self.made[row.of] if row.kind in _MESSAGES else None,
            numbers=dict(enum.numbers) if enum else None,
            texts=dict(enum.texts) if enum else None,
            convert=self._convert(row),
            text=single_text if row.kind == "float" else None,
        )

    def _convert(self, row: Row) -> Callable[[Any], Any]:
        if row.kind != "enum":
            return _CONVERT.get(row.kind, integer)
        if row.of == _NULL:
            return null_value
        enum = self.enums[row.of]
        return partial(enum_closed if enum.closed else enum_open, names=enum.numbers)

    def _absent(self, row: Row) -> bytes:
        """The JSON of a single field that is not there."""
        if row.kind in _MESSAGES or row.of == _NULL:
            return b"null"
        if row.kind == "enum":
            first = next(iter(self.enums[row.of].numbers.values()))
            number = first if row.default is None else row.default
            return self.enums[row.of].texts[number]
        return _scalar(row.kind, row.default).encode()


def spellings(row: Row) -> Sequence[str]:
    return (row.name, row.json) if row.json else (row.name,)


def _number(kind: str) -> int:
    return KINDS.index(kind) + 1


def _scalar(kind: str, value: Any) -> str:
    if kind == "string":
        return json.dumps(value or "")
    if kind == "bytes":
        return base64_text(value or b"")
    if kind == "bool":
        return "true" if value else "false"
    if kind in {"float", "double"}:
        return (single_text if kind == "float" else double_text)(value or 0.0)
    return f'"{value or 0}"' if kind in _LONG else str(value or 0)
