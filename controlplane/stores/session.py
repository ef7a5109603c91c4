"""What the store needs of one database connection, whichever database it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Row = tuple[Any, ...]


class Compiled(Protocol):
    """A statement of the query builder."""

    def sql(self) -> tuple[str, list[Any]]: ...


class Session(Protocol):
    """One connection. Statements are portable SQL with `?`; errors are of `controlplane.errors`."""

    def begin(self, *, write: bool) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def in_transaction(self) -> bool: ...
    def savepoint(self) -> AbstractContextManager[None]:
        """Undo what the body did when it raises."""
        ...

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[Row]: ...
    def select(self, query: Compiled) -> list[Row]: ...
    def change(self, sql: str, params: Iterable[Sequence[Any]]) -> int:
        """Run a prepared statement once per row of `params`; returns how many rows changed in all."""
        ...

    def changed(self, sql: str, params: Iterable[Sequence[Any]]) -> list[Row]:
        """The same for a statement that returns one row each; all of them in order."""
        ...

    def close(self) -> None: ...
