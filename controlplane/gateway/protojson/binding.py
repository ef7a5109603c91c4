"""One request message out of a path, a query and a body, as google.api.http binds them.

All three become one JSON value, which the message's decoder reads: there is one place that knows types and ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from google.protobuf.message import Message

from controlplane.gateway.protojson.codec import Codec
from controlplane.gateway.protojson.faults import Faults
from controlplane.gateway.protojson.parse import parse
from ext.jsontable import Refused

_IN_MAP: Final = re.compile(r"(.+?)\[(.*)\]", re.DOTALL)
_NUMBER: Final = re.compile(r"-?\d{1,10}", re.ASCII)
_TRUE: Final = frozenset({"true", "True", "TRUE", "t", "T", "1"})
_FALSE: Final = frozenset({"false", "False", "FALSE", "f", "F", "0"})


@dataclass(frozen=True, slots=True)
class Field:
    """What text needs to know of a field to become JSON.

    `kind` is "text" for all whose JSON may be a string, "bool", "enum", "json" for free JSON, "message" for one with
    fields of its own, or "none" for what only a body can hold. `label` is "", "repeated" or "map".
    """

    name: str
    json: str
    kind: str = "text"
    label: str = ""
    message: str = ""


# Fields of a message by both of their spellings.
Fields: TypeAlias = Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Binding:
    """`body` is "*", a field, or "" for none; `bound` are the paths that the query may not name.

    `mask` is the field mask that is filled from the keys of the body where the caller gives none: with `deep` the
    paths of all leaves, else its fields.
    """

    request: Codec
    type_name: str
    messages: Mapping[str, Fields]
    bound: frozenset[str] = frozenset()
    body: str = ""
    mask: str = ""
    deep: bool = True

    def decode(self, path: Mapping[str, str], query: Sequence[tuple[str, str]], body: bytes) -> Message:
        """`InvalidInput` with all faults; pointers are into the request message, wherever a value came from."""
        faults = Faults()
        tree = self._tree(body)
        if isinstance(tree, dict):
            self._bind_query(tree, query, faults)
            self._bind_path(tree, path, faults)
        message = self.request.of_json(tree, faults)
        if self.mask:
            self._derive_mask(message, tree)
        return message

    def _tree(self, body: bytes) -> Any:
        if not self.body or not body.strip():
            return {}
        return parse(body) if self.body == "*" else {self.body: parse(body)}

    def _bind_path(self, tree: dict[str, Any], path: Mapping[str, str], faults: Faults) -> None:
        for name, text in path.items():
            found = list(self._along(name))
            parent = _parent(tree, found)
            if parent is None:
                continue  # the body is no object there, as its decoder will say
            last = found[-1]
            try:
                value = _json(last, text)
            except Refused as error:
                faults.add(_pointer(found), str(error))
            else:
                parent.pop(last.json, None)
                parent[last.name] = [value] if last.label else value

    def _bind_query(self, tree: dict[str, Any], query: Sequence[tuple[str, str]], faults: Faults) -> None:
        seen: set[str] = set()
        for key, text in query:
            inside = _IN_MAP.fullmatch(key)
            found = list(self._along(inside[1] if inside else key))
            fault = self._refusal(found, inside is not None)
            at = _pointer(found) if found else "/" + key.replace("~", "~0").replace("/", "~1")
            if not fault and not found[-1].label and at in seen:
                fault = "is there twice"
            seen.add(at)
            if fault:
                faults.add(at, fault)
                continue
            try:
                _put(tree, found, inside[2] if inside else "", _json(found[-1], text))
            except Refused as error:
                faults.add(at, str(error))

    def _refusal(self, found: list[Field], in_map: bool) -> str:  # noqa: FBT001  # the second half of one question
        """Why the query may not set this, or ""."""
        if not found:
            return "is not known"
        names = [field.name for field in found]
        if any(".".join(names[:count]) in self.bound for count in range(1, len(names) + 1)):
            return "is not for the query: the path or the body has it"
        if found[-1].kind in {"message", "none"} or (found[-1].label == "map") != in_map:
            return "cannot be in a query"
        return ""

    def _along(self, dotted: str) -> Iterator[Field]:
        """The fields on the way; none at all when there is no such way."""
        found: list[Field] = []
        fields = self.messages.get(self.type_name, {})
        for name in dotted.split("."):
            if found and (found[-1].kind != "message" or found[-1].label):
                return
            field = fields.get(name)
            if field is None:
                return
            found.append(field)
            fields = self.messages.get(field.message, {})
        yield from found

    def _derive_mask(self, message: Message, tree: Any) -> None:
        mask = getattr(message, self.mask)
        body = tree.get(self.body)
        if not mask.paths and isinstance(body, dict):
            root = self.messages[self.type_name][self.body]
            paths = self._paths(body, root.message, "")
            mask.paths.extend(path for path in paths if f"{self.body}.{path}" not in self.bound)

    def _paths(self, json: dict[str, Any], message: str, prefix: str) -> Iterator[str]:
        for key, value in json.items():
            field = self.messages[message][key]
            path = prefix + field.name
            nested = self.deep and field.kind == "message" and not field.label and isinstance(value, dict) and value
            if nested:
                yield from self._paths(value, field.message, path + ".")
            else:
                yield path


def _pointer(found: list[Field]) -> str:
    return "".join(f"/{field.name}" for field in found)


def _json(field: Field, text: str) -> Any:
    """The JSON value that stands for `text`."""
    if field.kind == "bool":
        if text not in _TRUE and text not in _FALSE:
            raise Refused("must be true or false")
        return text in _TRUE
    if field.kind == "enum" and _NUMBER.fullmatch(text):
        return int(text)
    return parse(text.encode()) if field.kind == "json" else text


def _parent(tree: dict[str, Any], found: list[Field]) -> dict[str, Any] | None:
    """The object that holds the last field, made where it is not there yet."""
    here: Any = tree
    for field in found[:-1]:
        key = field.json if field.json in here else field.name
        here = here.setdefault(key, {})
        if not isinstance(here, dict):
            return None
    return tree if len(found) == 1 else here


def _put(tree: dict[str, Any], found: list[Field], key: str, value: Any) -> None:
    parent, last = _parent(tree, found), found[-1]
    if parent is None:
        raise Refused("is inside of something that is no object")
    if last.label == "repeated":
        parent.setdefault(last.name, []).append(value)
    elif last.label == "map":
        if key in (pairs := parent.setdefault(last.name, {})):
            raise Refused(f"has the key {key[:100]!r} twice")
        pairs[key] = value
    else:
        parent[last.name] = value
