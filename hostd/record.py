"""Small JSON files of hostd: dataclasses written canonically and read back strictly.

A record is an object whose fields are int, float, str, StrEnum, other records, ``tuple[X, ...]`` or ``dict[str, X]``.
Unknown or missing fields, wrong types and oversized files are refused, so that a damaged file is never half believed.
"""

from __future__ import annotations

import dataclasses
import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from hostd.errors import DamagedStateError

LARGEST = 4 << 20

T = TypeVar("T")


def encode(record: Any) -> bytes:
    """Canonical JSON of a record: sorted keys, no spaces; equal records give equal bytes."""
    return json.dumps(dataclasses.asdict(record), sort_keys=True, separators=(",", ":")).encode()


def decode(kind: type[T], data: bytes) -> T:
    """The record in `data`. `ValueError` names the field that is wrong."""
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    record: T = _convert(kind, value, "/")
    return record


def load(kind: type[T], path: Path, remedy: str) -> T:
    """Read a record. `DamagedStateError` names the file, what is wrong and `remedy`; `FileNotFoundError` passes."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise DamagedStateError(f"{path} is damaged (larger than {LARGEST} bytes); {remedy}")
    try:
        return decode(kind, data)
    except ValueError as error:
        raise DamagedStateError(f"{path} is damaged ({error}); {remedy}") from error


def _convert(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _convert_record(kind, value, where)
    if get_origin(kind) is tuple:
        items = _expect(list, value, where)
        return tuple(_convert(get_args(kind)[0], item, f"{where}{i}/") for i, item in enumerate(items))
    if get_origin(kind) is dict:
        items = _expect(dict, value, where)
        return {key: _convert(get_args(kind)[1], item, f"{where}{key}/") for key, item in items.items()}
    if issubclass(kind, StrEnum):
        return kind(_expect(str, value, where))
    return _expect(kind, value, where)


def _convert_record(kind: Any, value: Any, where: str) -> Any:
    names = {field.name for field in dataclasses.fields(kind)}
    given = _expect(dict, value, where)
    for name in sorted(names ^ given.keys()):
        raise ValueError(f"{where}{name} is {'missing' if name in names else 'unknown'}")
    types = get_type_hints(kind)
    return kind(**{name: _convert(types[name], given[name], f"{where}{name}/") for name in names})


def _expect(kind: type, value: Any, where: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{where.rstrip('/') or '/'} is not of type {kind.__name__}")
    return value
