"""Scalars: JSON values to field values, and field values to JSON text. Conversions raise `Refused`."""

from __future__ import annotations

import binascii
import math
import re
import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from ext.jsontable import Refused

quote: Final = encode_basestring_ascii

_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d{0,400})(?:\.\d{1,400})?(?:[eE][-+]?\d{1,3})?", re.ASCII)
_WHOLE: Final = re.compile(r"-?(?:0|[1-9]\d{0,19})", re.ASCII)
_SPECIAL: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_SINGLE_MAX: Final = 3.4028234663852886e38
_SINGLE_LIMIT: Final = 3.4028235677973366e38  # from here on a float is rounded up to infinity
_STANDARD: Final = str.maketrans("-_", "+/")


def string(value: Any) -> str:
    if type(value) is not str:
        raise Refused("must be a string")
    return value


def boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise Refused("must be true or false")
    return value


def integer(value: Any) -> int:
    """A whole number, or a string with one; the range is the field's to check."""
    if type(value) is int:
        return value
    if type(value) is str and _WHOLE.fullmatch(value):
        return int(value)
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is str and _NUMBER.fullmatch(value):
        exact = Decimal(value)
        if exact == exact.to_integral_value():
            return int(exact)
    raise Refused("must be a whole number")


def double(value: Any) -> float:
    if type(value) is float or type(value) is int:
        number = float(value)
        if math.isfinite(number):
            return number
        raise Refused("is out of range")
    if type(value) is str:
        if value in _SPECIAL:
            return _SPECIAL[value]
        if _NUMBER.fullmatch(value) and math.isfinite(number := float(value)):
            return number
    raise Refused('must be a number, "NaN", "Infinity" or "-Infinity"')


def single(value: Any) -> float:
    number = double(value)
    if math.isfinite(number) and abs(number) > _SINGLE_MAX:
        if abs(number) >= _SINGLE_LIMIT:
            raise Refused("is out of range")
        return math.copysign(_SINGLE_MAX, number)
    return number


def octets(value: Any) -> bytes:
    """base64, standard or URL-safe, with or without its padding."""
    if type(value) is not str:
        raise Refused("must be a string of base64")
    plain = value.translate(_STANDARD).rstrip("=")
    if len(value) - len(plain) > (padding := -len(plain) % 4) and len(value) != len(plain):
        raise Refused("must be base64")
    try:
        return b64decode(plain + "=" * padding, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("must be base64") from None


def enum_open(value: Any, names: Mapping[str, int]) -> int:
    """A name, or any number."""
    if type(value) is str:
        number = names.get(value)
        if number is None:
            raise Refused(f"must be one of {', '.join(list(names)[:32])}")
        return number
    if type(value) is bool or type(value) not in {int, float}:
        raise Refused("must be the name of a value, or its number")
    return integer(value)


def enum_closed(value: Any, names: Mapping[str, int]) -> int:
    """A name, or a number that has one."""
    number = enum_open(value, names)
    if number not in names.values():
        raise Refused(f"must be one of {', '.join(list(names)[:32])}")
    return number


def key_boolean(value: str) -> bool:
    if value not in {"true", "false"}:
        raise Refused('must be "true" or "false"')
    return value == "true"


def base64_text(value: bytes) -> str:
    return f'"{b64encode(value).decode()}"'


def double_text(value: float) -> str:
    return repr(value) if math.isfinite(value) else _special_text(value)


def single_text(value: float) -> str:
    """The shortest text that is read as the same float."""
    if not math.isfinite(value):
        return _special_text(value)
    wanted = struct.pack("f", value)
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        if abs(short) < _SINGLE_LIMIT and struct.pack("f", short) == wanted:
            return repr(short)
    return repr(float(f"{value:.9g}"))


def _special_text(value: float) -> str:
    if math.isnan(value):
        return '"NaN"'
    return '"Infinity"' if value > 0 else '"-Infinity"'


def null_value(value: Any) -> int:
    """The one value of NullValue."""
    if value is None or value == "NULL_VALUE" or (value == 0 and type(value) is not bool):
        return 0
    raise Refused("must be null")
