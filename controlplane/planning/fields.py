"""Reads values out of decoded JSON, strictly, and collects every fault with its JSON pointer instead of stopping."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from controlplane.errors import Violation

T = TypeVar("T")

MAX_FAULTS: Final = 100
MAX_DEPTH: Final = 32
_NAMES: Final = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}
# Control characters, and those that make text look other than it is to the person who approves it.
_HIDDEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LINE_BREAKS: Final = "\n\r\t"


def pointer(parent: str, name: str | int) -> str:
    """JSON pointer (RFC 6901) of a member."""
    return f"{parent}/{str(name).replace('~', '~0').replace('/', '~1')}"


@dataclass(slots=True)
class Faults:
    """The first MAX_FAULTS faults, in the order of reading."""

    found: list[Violation] = field(default_factory=list)

    def add(self, at: str, description: str) -> None:
        if len(self.found) < MAX_FAULTS:
            self.found.append(Violation(at, description))


@dataclass(frozen=True, slots=True)
class Text:
    """Limits of a string in characters; `lines` allows line breaks and tabs."""

    most: int
    least: int = 0
    lines: bool = False

    def read(self, value: object, at: str, faults: Faults) -> str:
        if not isinstance(value, str):
            faults.add(at, f"must be a string, not {kind(value)}")
            return ""
        if not self.least <= len(value) <= self.most:
            faults.add(at, f"must have {self.least} to {self.most} characters, has {len(value)}")
        elif self.least and not value.strip():
            faults.add(at, "must not be blank")
        elif hidden := next((one for one in _HIDDEN.findall(value) if not (self.lines and one in _LINE_BREAKS)), None):
            faults.add(at, f"must not contain the control character U+{ord(hidden):04X}")
        elif _SURROGATE.search(value):
            faults.add(at, "must be valid Unicode")
        return value


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number. JSON decoders that know floats only are met half way: 5.0 is 5."""

    least: int
    most: int

    def read(self, value: object, at: str, faults: Faults) -> int:
        whole = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not whole or int(value) != value:  # type: ignore[call-overload]
            faults.add(at, f"must be a whole number, not {kind(value)}")
            return self.least
        number = int(value)  # type: ignore[call-overload]
        if not self.least <= number <= self.most:
            faults.add(at, f"must be {self.least} to {self.most}")
        return int(number)


@dataclass(slots=True)
class Object:
    """One JSON object under reading; members that are not asked for are faults of `finish`."""

    members: Mapping[str, Any]
    at: str
    faults: Faults
    exists: bool = True  # False: something else stood there, and one fault says so
    known: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, value: object, at: str, faults: Faults) -> Object:
        if isinstance(value, Mapping):
            return cls(value, at, faults)
        faults.add(at, f"must be an object, not {kind(value)}")
        return cls({}, at, faults, exists=False)

    def take(self, name: str, read: Callable[[object, str, Faults], T], default: T) -> T:
        """The member, or the default where it is absent."""
        self.known.add(name)
        return read(self.members[name], pointer(self.at, name), self.faults) if name in self.members else default

    def need(self, name: str, read: Callable[[object, str, Faults], T], default: T) -> T:
        """The member; its absence is a fault."""
        if self.exists and name not in self.members:
            self.faults.add(pointer(self.at, name), "is required")
        return self.take(name, read, default)

    def finish(self) -> None:
        for name in self.members:
            if name not in self.known:
                expected = ", ".join(sorted(self.known))
                self.faults.add(pointer(self.at, name), f"is unknown; known here: {expected}")


def items(
    read: Callable[[object, str, Faults], T], most: int, least: int = 0
) -> Callable[[object, str, Faults], tuple[T, ...]]:
    """Reader of an array of `least` to `most` items."""

    def read_items(value: object, at: str, faults: Faults) -> tuple[T, ...]:
        if not isinstance(value, list | tuple):
            faults.add(at, f"must be an array, not {kind(value)}")
            return ()
        if not least <= len(value) <= most:
            faults.add(at, f"must have {least} to {most} items, has {len(value)}")
        return tuple(read(item, pointer(at, index), faults) for index, item in enumerate(value[:most]))

    return read_items


def one_of(values: Mapping[str, T], default: T) -> Callable[[object, str, Faults], T]:
    """Reader of a name out of a fixed set."""

    def read_name(value: object, at: str, faults: Faults) -> T:
        if isinstance(value, str) and value in values:
            return values[value]
        faults.add(at, f"must be one of {', '.join(values)}")
        return default

    return read_name


def free_form(value: object, at: str, faults: Faults) -> Mapping[str, Any]:
    """Reader of an object whose shape others check: only JSON that every part of the system can hold."""
    if not isinstance(value, Mapping):
        faults.add(at, f"must be an object, not {kind(value)}")
        return {}
    _check_json(value, at, faults, MAX_DEPTH)
    return dict(value)


def _check_json(value: object, at: str, faults: Faults, depth: int) -> None:
    if depth == 0:
        faults.add(at, f"is nested deeper than {MAX_DEPTH} levels")
    elif isinstance(value, float) and not math.isfinite(value):
        faults.add(at, "must be a finite number")
    elif isinstance(value, str) and ("\x00" in value or _SURROGATE.search(value)):
        faults.add(at, "must be valid Unicode without NUL")
    elif isinstance(value, Mapping):
        for name, member in value.items():
            _check_json(name, at, faults, depth)
            _check_json(member, pointer(at, name), faults, depth - 1)
    elif isinstance(value, Collection) and not isinstance(value, str):
        for index, member in enumerate(value):
            _check_json(member, pointer(at, index), faults, depth - 1)


def kind(value: object) -> str:
    """What JSON calls a value."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN or Infinity"
    return _NAMES.get(type(value), f"{value!r:.40}")
