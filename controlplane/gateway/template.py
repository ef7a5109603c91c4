"""Path templates of google.api.http: `/v1/{name=shelves/*/books/**}:verb`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

ONE: Final = "*"
MANY: Final = "**"

_LITERAL: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()+,;=@]|%[0-9A-Fa-f]{2})+", re.ASCII)
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
_TOKEN: Final = re.compile(r"\{[^{}]*\}|/|[^/{}]+")


class BadTemplate(ValueError):
    """What is wrong with a template."""


@dataclass(frozen=True, slots=True)
class Variable:
    """Takes the segments from `first` up to `end`, all of the rest where `end` is None."""

    name: str
    first: int
    end: int | None
    many: bool  # more than one segment: an escaped slash stays escaped


@dataclass(frozen=True, slots=True)
class Template:
    """`segments` are literals, "*" and, last only, "**"."""

    segments: tuple[str, ...]
    variables: tuple[Variable, ...]
    verb: str

    @property
    def shape(self) -> tuple[tuple[str, ...], str]:
        """Equal for templates that match the same paths."""
        return self.segments, self.verb


def parse_template(text: str) -> Template:
    """`BadTemplate` for what the grammar does not allow."""
    if not text.startswith("/"):
        raise BadTemplate("does not start with /")
    path, verb = _split_verb(text)
    segments: list[str] = []
    variables: list[Variable] = []
    for piece in _pieces(path):
        if piece.startswith("{"):
            variables.append(_variable(piece[1:-1], segments))
        else:
            segments.append(_segment(piece))
    if MANY in segments[:-1]:
        raise BadTemplate("has ** before its end")
    names = [variable.name for variable in variables]
    if len(set(names)) != len(names):
        raise BadTemplate("binds a variable twice")
    return Template(tuple(segments), tuple(variables), verb)


def _split_verb(text: str) -> tuple[str, str]:
    """The verb follows the last colon outside of variables."""
    head, colon, verb = text.rpartition(":")
    if not colon or "}" in verb or "/" in verb:
        if ":" in re.sub(r"\{[^{}]*\}", "", text):
            raise BadTemplate("has a colon that starts no verb")
        return text, ""
    if not _LITERAL.fullmatch(verb) or ":" in re.sub(r"\{[^{}]*\}", "", head):
        raise BadTemplate(f"has the bad verb {verb!r}")
    return head, verb


def _pieces(path: str) -> list[str]:
    """Segments and variables, which stand between slashes."""
    tokens = _TOKEN.findall(path)
    if "".join(tokens) != path:
        raise BadTemplate("has braces that do not pair")
    if tokens == ["/"]:
        return []
    if any((piece == "/") != (index % 2 == 0) for index, piece in enumerate(tokens)) or len(tokens) % 2:
        raise BadTemplate("has an empty segment, or two things in one")
    return tokens[1::2]


def _variable(inside: str, segments: list[str]) -> Variable:
    name, equals, pattern = inside.partition("=")
    if not _FIELD.fullmatch(name):
        raise BadTemplate(f"has the bad field path {name!r}")
    pieces = [_segment(piece) for piece in (pattern if equals else ONE).split("/")]
    first = len(segments)
    segments += pieces
    many = len(pieces) > 1 or pieces[-1] == MANY
    return Variable(name, first, None if pieces[-1] == MANY else len(segments), many)


def _segment(piece: str) -> str:
    if piece in {ONE, MANY} or _LITERAL.fullmatch(piece):
        return piece
    raise BadTemplate(f"has the bad segment {piece!r}")
