"""Many rows in few statements: the interpreter is given up and taken back with each, which costs more than a row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import chain

from controlplane.stores.session import Row, Session

# Few sizes, so that each is prepared once; the largest stays below every database's limit on parameters.
SIZES = (64, 16, 4, 1)
VALUES = " VALUES "


class Statement:
    """An INSERT of one row, also with what follows on a conflict, that takes any number of rows."""

    def __init__(self, one: str) -> None:
        self._one = one

    @cached_property
    def _sized(self) -> list[tuple[int, str]]:
        head, _, rest = self._one.partition(VALUES)
        row, _, tail = rest.partition(")")
        return [(size, f"{head}{VALUES}{', '.join([f'{row})'] * size)}{tail}") for size in SIZES]

    def run(self, session: Session, rows: Sequence[Row]) -> None:
        at = 0
        for size, sql in self._sized:
            while len(rows) - at >= size:
                session.rows(sql, tuple(chain.from_iterable(rows[at : at + size])))
                at += size
