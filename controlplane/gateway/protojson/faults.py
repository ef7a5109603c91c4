"""All that is wrong with one input, each with a JSON pointer to it."""

from __future__ import annotations

from typing import Final

from controlplane.errors import InvalidInput, Violation
from ext.jsontable import Refused

MOST: Final = 50
LONGEST: Final = 1000  # characters of a pointer: keys are the caller's
DEEPEST: Final = 100  # objects and arrays within each other, as in other parsers of this format


def step(at: str, key: object) -> str:
    """The pointer of what `key` names in the object or array at `at`."""
    return f"{at}/{str(key).replace('~', '~0').replace('/', '~1')}"


class Faults:
    """Collects faults and refuses the input at its end, or at once when there are very many."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[Violation] = []

    def add(self, at: str, why: str) -> None:
        self.found.append(Violation(at[:LONGEST], why))
        if len(self.found) >= MOST:
            self.end()

    def refused(self, at: str, error: Exception) -> None:
        """Notes what a conversion said of the value at the pointer."""
        self.add(at, str(error) if isinstance(error, Refused) else _plain(error))

    def end(self) -> None:
        """Raises `InvalidInput` if there was any fault."""
        if self.found:
            first = self.found[0]
            raise InvalidInput(f"{first.field or '/'}: {first.description}", violations=tuple(self.found))


def _plain(error: Exception) -> str:
    """Python speaks of its own types; users get the rule."""
    return "is out of range" if isinstance(error, OverflowError) else "has the wrong type"
