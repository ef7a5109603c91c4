"""Times and masks, which have JSON of their own."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from controlplane.gateway.protojson.faults import Faults
from controlplane.gateway.protojson.scalar import quote
from ext.jsontable import Refused

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


def timestamp(json: Any) -> tuple[int, int]:
    """Seconds and nanoseconds since 1970 of RFC 3339 with any offset."""
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


def _fraction(nanos: int) -> str:
    """Three, six or nine digits, as few as say it."""
    if not 0 <= nanos < _BILLION:
        raise Refused("has nanoseconds of more than a second")
    if nanos % 1_000:
        return f".{nanos:09}"
    return f".{nanos // 1_000:06}" if nanos % 1_000_000 else f".{nanos // 1_000_000:03}"


def duration(json: Any) -> tuple[int, int]:
    """Seconds, with a fraction or without, and an s."""
    found = _SPAN.fullmatch(json) if type(json) is str else None
    if found is None:
        raise Refused('must be a duration in seconds such as "1.5s"')
    sign, whole, fraction = found.groups()
    seconds, nanos = int(whole), int((fraction or "0").ljust(9, "0"))
    if seconds > _LONGEST or (seconds == _LONGEST and nanos):
        raise Refused(f"is longer than {_LONGEST} s")
    return (-seconds, -nanos) if sign else (seconds, nanos)


def duration_text(seconds: int, nanos: int) -> str:
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
