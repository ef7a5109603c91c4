"""Comments of a proto, by the full names of what they stand above."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

# Numbers of the lists within their parents, which make up the paths of source_code_info.
_MESSAGES: Final = 4
_ENUMS: Final = 5
_SERVICES: Final = 6
_FIELDS: Final = 2
_NESTED: Final = 3
_NESTED_ENUMS: Final = 4
_METHODS: Final = 2

_Path = tuple[int, ...]
_Named = tuple[str, _Path, Any]


def comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Full name and text of all that have one; notes to tools are left out."""
    texts = {
        tuple(each.path): each.leading_comments or each.trailing_comments for each in file.source_code_info.location
    }
    for name, path in _names(file):
        lines = [line.strip() for line in texts.get(path, "").strip().splitlines() if "buf:lint" not in line]
        if text := "\n".join(lines).strip():
            yield name, text


def _names(file: FileDescriptorProto) -> Iterator[tuple[str, _Path]]:
    for name, path, service in _listed(file.service, file.package, (_SERVICES,)):
        yield name, path
        yield from _paths(service.method, name, (*path, _METHODS))
    yield from _paths(file.enum_type, file.package, (_ENUMS,))
    waiting: list[_Named] = list(_listed(file.message_type, file.package, (_MESSAGES,)))
    while waiting:
        name, path, message = waiting.pop()
        yield name, path
        yield from _message(message, name, path)
        waiting += _listed(message.nested_type, name, (*path, _NESTED))


def _message(message: DescriptorProto, name: str, path: _Path) -> Iterator[tuple[str, _Path]]:
    yield from _paths(message.field, name, (*path, _FIELDS))
    yield from _paths(message.enum_type, name, (*path, _NESTED_ENUMS))


def _paths(items: Sequence[Any], scope: str, path: _Path) -> Iterator[tuple[str, _Path]]:
    return ((name, where) for name, where, _ in _listed(items, scope, path))


def _listed(items: Iterable[Any], scope: str, path: _Path) -> Iterator[_Named]:
    for index, item in enumerate(items):
        yield f"{scope}.{item.name}" if scope else item.name, (*path, index), item
