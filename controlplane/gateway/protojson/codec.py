"""A message type to JSON and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import EncodeError, Message

from controlplane.errors import FailedPrecondition
from controlplane.gateway.protojson.anytypes import AnyTypes
from controlplane.gateway.protojson.faults import Faults
from controlplane.gateway.protojson.parse import parse
from controlplane.gateway.protojson.table import Enum, Foreign, Row, Tables
from controlplane.gateway.protojson.wellknown import decode_field_mask, encode_field_mask
from ext.jsonreader import read
from ext.jsontable import Refused, Table
from ext.jsonwriter import write


class Unrepresentable(FailedPrecondition):
    """An answer holds what JSON cannot say, such as NaN in a Struct."""

    default_reason = "not_json"


@dataclass(frozen=True, slots=True)
class Codec:
    """One type, by its tables."""

    new: type[Message]
    table: Table

    def encode(self, message: Message) -> bytes:
        """Fields without presence are always there. `Unrepresentable` where JSON has no such value."""
        try:
            return write(self.table, message.SerializePartialToString())
        except (ValueError, EncodeError) as error:
            why = str(error) if isinstance(error, Refused) else "holds what JSON cannot say"
            raise Unrepresentable(f"{message.DESCRIPTOR.full_name} {why}") from None

    def decode(self, body: bytes) -> Message:
        """`InvalidInput` with all faults, each with its pointer."""
        return self.of_json(parse(body), Faults())

    def of_json(self, json: Any, faults: Faults) -> Message:
        """The same of JSON that was parsed, in which there may have been faults already."""
        wire = read(self.table, json, "", faults)
        faults.end()
        return self.new.FromString(wire)


class Codecs(Mapping[str, Codec]):
    """Those of one API by the full names of its types; `new` has their classes."""

    def __init__(
        self,
        messages: Mapping[str, Sequence[Row]],
        enums: Mapping[str, Enum],
        new: Callable[[str], type[Message]],
    ) -> None:
        foreign = {}
        if (mask := "google.protobuf.FieldMask") in messages:
            foreign[mask] = _foreign(new(mask), encode_field_mask, decode_field_mask)
        if (held := "google.protobuf.Any") in messages:
            types = AnyTypes(self)
            foreign[held] = _foreign(new(held), types.encode, types.decode)
        self._tables = Tables(messages, enums, foreign)
        self._codecs = {name: Codec(new(name), table) for name, table in self._tables.made.items()}

    def __getitem__(self, name: str) -> Codec:
        return self._codecs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._codecs)

    def __len__(self) -> int:
        return len(self._codecs)

    def part(self, message: str, field: str) -> Codec:
        """Whose JSON of the message is that of one field; an unset message is null."""
        return Codec(self[message].new, self._tables.part(message, field))


def _foreign(
    new: type[Message], text: Callable[[Any], str], decode: Callable[[Any, Any, str, Faults], None]
) -> Foreign:
    def written(wire: bytes) -> str:
        return text(new.FromString(wire))

    def read_(json: Any, at: str, faults: Faults) -> bytes:
        message = new()
        decode(json, message, at, faults)
        return message.SerializePartialToString()

    return Foreign(written, read_)
