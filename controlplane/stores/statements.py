"""Prepared statements, written once from the tables at import. Names come from our own models, never from a caller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from peewee import Model

# Below the smallest limit on parameters among the databases, with room for others in the same statement.
CHUNK = 500


def columns(table: type[Model]) -> tuple[str, ...]:
    """Return the columns in the order in which rows are written and read."""
    return tuple(table._meta.columns)  # noqa: SLF001 - the query builder's documented way to a model's description


def name_of(table: type[Model]) -> str:
    return str(table._meta.table_name)  # noqa: SLF001


def insert(table: type[Model]) -> str:
    names = columns(table)
    return f"INSERT INTO {name_of(table)} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608


def insert_new(table: type[Model]) -> str:
    """Insert, and leave a row with the same key alone."""
    return f"{insert(table)} ON CONFLICT DO NOTHING"


def upsert(table: type[Model], *key: str) -> str:
    """Insert, or replace every column but the key."""
    sets = ", ".join(f"{name} = excluded.{name}" for name in columns(table) if name not in key)
    return f"{insert(table)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets}"


def update(table: type[Model], changed: Sequence[str], guard: Sequence[str]) -> str:
    sets = ", ".join(f"{name} = ?" for name in changed)
    where = " AND ".join(f"{name} = ?" for name in guard)
    return f"UPDATE {name_of(table)} SET {sets} WHERE {where}"  # noqa: S608


def select(table: type[Model], where: str, rest: str = "") -> str:
    """Read whole rows. Building a query anew costs many times what it takes to run; hot reads are written once."""
    return f"SELECT {', '.join(columns(table))} FROM {name_of(table)} WHERE {where} {rest}"  # noqa: S608


def within(column: str, count: int) -> str:
    """`column IN (?, ...)`"""
    return f"{column} IN ({', '.join('?' * count)})"


def chunks(values: Iterable[str]) -> Iterator[list[str]]:
    """Split what goes into one `IN (...)`."""
    rest = iter(values)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
