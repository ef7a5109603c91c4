"""The well-known types, which have JSON of their own. Messages are of any pool: fields are all they are known by."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from controlplane.gateway.protojson.faults import DEEPEST, WRONG, Faults, Refused, step
from controlplane.gateway.protojson.scalar import BOOL, double, quote

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = -62_135_596_800
_LAST: Final = 253_402_300_799
_LONGEST: Final = 315_576_000_000
_BILLION: Final = 1_000_000_000
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
_TAIL: Final = re.compile(r"(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_NO_TIME: Final = 'must be a time such as "2026-01-31T12:00:00Z"'
_FAR: Final = "is outside of the years 1 to 9999"
_SPAN: Final = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s", re.ASCII)
_PATH: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*(?:\.[a-zA-Z_][a-zA-Z0-9_]*)*", re.ASCII)
_SAFE: Final = re.compile(r"(?:[a-z0-9.]|_[a-z])*", re.ASCII)


def decode_timestamp(json: Any, m: Any, at: str, faults: Faults) -> None:
    """RFC 3339 with any offset."""
    try:
        m.seconds, m.nanos = _moment(json)
    except Refused as error:
        faults.add(at, str(error))


def _moment(json: Any) -> tuple[int, int]:
    if type(json) is not str:
        raise Refused(_NO_TIME)
    seconds, tail = _seconds(json[:19]), json[19:]
    if tail == "Z":
        return seconds, 0
    found = _TAIL.fullmatch(tail)
    if found is None:
        raise Refused(_NO_TIME)
    fraction, sign, hours, minutes = found.groups()
    if sign:
        if int(hours) > 23 or int(minutes) > 59:  # noqa: PLR2004  # the clock's
            raise Refused("has an offset that no clock has")
        seconds -= (int(hours) * 3600 + int(minutes) * 60) * (-1 if sign == "-" else 1)
        if not _FIRST <= seconds <= _LAST:
            raise Refused(_FAR)
    return seconds, int(fraction.ljust(9, "0")) if fraction else 0


@lru_cache(maxsize=1024)
def _seconds(text: str) -> int:
    """Seconds since 1970 of a date and a time of day; the same ones come again and again."""
    if not _TIME.fullmatch(text):
        raise Refused(_NO_TIME)
    try:
        moment = datetime.fromisoformat(text + "+00:00")
    except ValueError:
        raise Refused("is no time of the calendar") from None
    return (moment - _EPOCH) // timedelta(seconds=1)


def encode_timestamp(m: Any) -> str:
    nanos = m.nanos
    return f'"{_time(m.seconds)}{_fraction(nanos)}Z"' if nanos else f'"{_time(m.seconds)}Z"'


@lru_cache(maxsize=1024)
def _time(seconds: int) -> str:
    """Date and time of day."""
    if not _FIRST <= seconds <= _LAST:
        raise Refused(_FAR)
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


def _fraction(nanos: int) -> str:
    """Three, six or nine digits, as few as say it."""
    if not 0 <= nanos < _BILLION:
        raise Refused("has nanoseconds of more than a second")
    if nanos % 1_000:
        return f".{nanos:09}"
    return f".{nanos // 1_000:06}" if nanos % 1_000_000 else f".{nanos // 1_000_000:03}"


def decode_duration(json: Any, m: Any, at: str, faults: Faults) -> None:
    """Seconds, with a fraction or without, and an s."""
    found = _SPAN.fullmatch(json) if type(json) is str else None
    if found is None:
        faults.add(at, 'must be a duration in seconds such as "1.5s"')
        return
    sign, whole, fraction = found.groups()
    seconds, nanos = int(whole), int((fraction or "0").ljust(9, "0"))
    if seconds > _LONGEST or (seconds == _LONGEST and nanos):
        faults.add(at, f"is longer than {_LONGEST} s")
        return
    m.seconds, m.nanos = (-seconds, -nanos) if sign else (seconds, nanos)


def encode_duration(m: Any) -> str:
    seconds, nanos = m.seconds, m.nanos
    if abs(seconds) > _LONGEST or abs(nanos) >= _BILLION or seconds * nanos < 0:
        raise Refused("is a duration out of range")
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return f'"{sign}{abs(seconds)}{_fraction(abs(nanos)) if nanos else ""}s"'


def decode_field_mask(json: Any, m: Any, at: str, faults: Faults) -> None:
    """Paths between commas, in either spelling of the fields."""
    if type(json) is not str:
        faults.add(at, "must be a string of field paths with commas between them")
        return
    for path in json.split(",") if json else ():
        if not _PATH.fullmatch(path):
            faults.add(at, f"holds {path[:100]!r}, which is no field path")
        else:
            m.paths.append(snake(path))


def snake(name: str) -> str:
    """The field name for a name in JSON."""
    return re.sub("[A-Z]", lambda found: "_" + found[0].lower(), name)


def encode_field_mask(m: Any) -> str:
    return quote(",".join(map(_camel, m.paths)))


def _camel(path: str) -> str:
    if not _SAFE.fullmatch(path):
        raise Refused(f"has the path {path!r}, which could not be read again")
    return re.sub("_([a-z])", lambda found: found[1].upper(), path)


def decode_empty(json: Any, _m: Any, at: str, faults: Faults) -> None:
    if type(json) is not dict:
        faults.add(at, "must be an object")
        return
    for key in json:
        faults.add(step(at, key), "is not known")


def encode_empty(_m: Any) -> str:
    return "{}"


def decode_struct(json: Any, m: Any, at: str, faults: Faults) -> None:
    if type(json) is not dict:
        faults.add(at, "must be an object")
        return
    fields = m.fields
    for key, value in json.items():
        decode_value(value, fields[key], step(at, key), faults)


def decode_list(json: Any, m: Any, at: str, faults: Faults) -> None:
    if type(json) is not list:
        faults.add(at, "must be a list")
        return
    add = m.values.add
    for index, value in enumerate(json):
        decode_value(value, add(), f"{at}/{index}", faults)


def decode_value(json: Any, m: Any, at: str, faults: Faults) -> None:
    kind = type(json)
    if kind is str:
        m.string_value = json
    elif kind is bool:
        m.bool_value = json
    elif json is None:
        m.null_value = 0
    elif kind is dict or kind is list:
        _decode_nested(json, m, at, faults)
    else:
        try:
            m.number_value = double(json)
        except WRONG as error:
            faults.refused(at, error)


def _decode_nested(json: Any, m: Any, at: str, faults: Faults) -> None:
    if at.count("/") >= DEEPEST:
        faults.add(at, "is nested too deeply")
    elif type(json) is dict:
        m.struct_value.SetInParent()
        decode_struct(json, m.struct_value, at, faults)
    else:
        m.list_value.SetInParent()
        decode_list(json, m.list_value, at, faults)


def encode_struct(m: Any) -> str:
    return "{" + ",".join([f"{quote(key)}:{encode_value(value)}" for key, value in m.fields.items()]) + "}"


def encode_list(m: Any) -> str:
    return "[" + ",".join([encode_value(value) for value in m.values]) + "]"


def encode_value(m: Any) -> str:
    """`Refused` for a number that JSON lacks: as a string it would come back as one."""
    kind = m.WhichOneof("kind")
    if kind == "string_value":
        return quote(m.string_value)
    if kind == "number_value":
        return _number(m.number_value)
    if kind == "bool_value":
        return BOOL[m.bool_value]
    if kind == "struct_value":
        return encode_struct(m.struct_value)
    return encode_list(m.list_value) if kind == "list_value" else "null"


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise Refused("holds a number that JSON does not have")
    return repr(value)
