"""Scalars that all nouns share: times, durations, enums, JSON values, pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.errors import InvalidInput, Violation
from controlplane.ports import Page

Number = TypeVar("Number", bound=int, covariant=True)  # noqa: PLC0105  # covariant by the protocol, no type of its own
NANOS = 1_000_000_000
LATEST_S = 253_402_300_799.0  # the last second of the year 9999


class Named(Protocol):
    """A member of a domain enum."""

    @property
    def name(self) -> str: ...


class Wrapper(Protocol[Number]):
    """A generated enum."""

    def Value(self, name: str) -> Number: ...  # noqa: N802  # as protobuf spells it
    def Name(self, number: Any) -> str: ...  # noqa: N802


def timestamp(seconds: float | None) -> Timestamp | None:
    """Epoch seconds, to the microsecond; None stays unset."""
    if seconds is None:
        return None
    micros = round(seconds * 1_000_000)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def seconds(time: Timestamp) -> float:
    """Epoch seconds of a timestamp, within what every format of time can say; 0 when it is unset."""
    return min(max(float(time.seconds + time.nanos / NANOS), 0.0), LATEST_S)


def whole_seconds(duration: Duration, field: str) -> int:
    """A duration as seconds, rounded up; `InvalidInput` for one that is negative or longer than a year."""
    total = math.ceil(duration.seconds + duration.nanos / NANOS)
    if not 0 <= total <= 365 * 86400:
        fault = Violation(field, "must be between nothing and one year")
        raise InvalidInput(f"{field}: {fault.description}", violations=(fault,))
    return total


def optional_seconds(message: Message, name: str, field: str) -> int | None:
    """`whole_seconds` of the duration `name` of a message, which is a wish only when it is set: 0 is one too."""
    return whole_seconds(getattr(message, name), f"{field}/{name}") if message.HasField(name) else None


def duration(seconds: float | None) -> Duration | None:
    """To the millisecond; None stays unset."""
    if seconds is None:
        return None
    millis = round(seconds * 1000)
    return Duration(seconds=millis // 1000, nanos=millis % 1000 * 1_000_000)


def enum_out(wrapper: Wrapper[Number], prefix: str, member: Named) -> Number:
    """The number of a domain enum's member, which has the same name after the prefix."""
    known = _numbers.get((prefix, member))
    if known is None:
        known = _numbers[prefix, member] = wrapper.Value(f"{prefix}_{member.name or 'UNSPECIFIED'}")
    return cast("Number", known)


_numbers: dict[tuple[str, Named], int] = {}


def json_in(struct: Struct, field: str) -> dict[str, Any]:
    """A Struct as a JSON object; whole numbers become integers, NaN and Infinity are `InvalidInput`."""
    return {name: _json(value, f"{field}/{_escape(name)}") for name, value in struct.fields.items()}


def _json(value: Value, field: str) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            return _number(value.number_value, field)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return json_in(value.struct_value, field)
        case "list_value":
            return [_json(each, f"{field}/{index}") for index, each in enumerate(value.list_value.values)]
        case _:
            return None


def _number(number: float, field: str) -> int | float:
    if not math.isfinite(number):
        raise InvalidInput(f"{field}: NaN and Infinity are no JSON", violations=(Violation(field, "must be finite"),))
    return int(number) if number.is_integer() and abs(number) <= 1 << 53 else number


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def json_out(data: Mapping[str, Any]) -> Struct:
    """A JSON object as a Struct."""
    return Struct(fields={str(name): _value(each) for name, each in data.items()})


def _value(data: Any) -> Value:
    if data is None:
        return Value(null_value=NullValue.NULL_VALUE)
    if isinstance(data, bool):
        return Value(bool_value=data)
    if isinstance(data, int | float):
        return Value(number_value=data)
    if isinstance(data, Mapping):
        return Value(struct_value=json_out(data))
    if isinstance(data, list | tuple | frozenset | set):
        return Value(list_value=ListValue(values=[_value(each) for each in data]))
    return Value(string_value=str(data))


class Paged(Protocol):
    """A list request."""

    @property
    def page_size(self) -> int: ...
    @property
    def page_token(self) -> str: ...


def page_in(request: Paged) -> Page:
    return Page(size=request.page_size, token=request.page_token)
