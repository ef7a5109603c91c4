"""Finds the route of a request: in each segment a literal goes before a variable, and both before all of the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from controlplane.errors import InvalidInput, MethodNotAllowed, NotFound
from controlplane.gateway.route import Route
from controlplane.gateway.template import MANY, ONE, Template, parse_template

ANY: Final = "*"
_SLASH: Final = re.compile("(%2[fF])")
_BROKEN: Final = re.compile("%(?![0-9A-Fa-f]{2})")


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict)
    one: _Node | None = None
    here: dict[tuple[str, str], tuple[Route, Template]] = field(default_factory=dict)  # by template verb, HTTP verb
    rest: dict[tuple[str, str], tuple[Route, Template]] = field(default_factory=dict)


class Router:
    def __init__(self, routes: Sequence[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route, parse_template(route.template))

    def match(self, verb: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """The route and its decoded variables, for the path as it came, without the query.

        HEAD is GET without a body, except where an API has a rule of its own for it.
        `NotFound`; `MethodNotAllowed` when only other HTTP verbs have this path; `InvalidInput` for bad escapes.
        """
        allowed: set[str] = set()
        verbs = (verb, "GET", ANY) if verb == "HEAD" else (verb, ANY)
        for raw, action in _readings(path):
            segments = [_decoded(segment) for segment in raw]
            for found in _matches(self._root, segments, 0):
                entry = next((found[action, each] for each in verbs if (action, each) in found), None)
                if entry:
                    return entry[0], _variables(entry[1], raw)
                allowed.update(http for template_verb, http in found if template_verb == action)
        if allowed:
            allow = tuple(sorted(allowed))
            raise MethodNotAllowed(f"this is for {', '.join(allow)}", allow=allow)
        raise NotFound("there is nothing at this path")

    def _add(self, route: Route, template: Template) -> None:
        node = self._root
        for segment in template.segments:
            if segment == MANY:
                break
            if segment == ONE:
                node.one = node.one or _Node()
                node = node.one
            else:
                node = node.literals.setdefault(_decoded(segment), _Node())
        ends = node.rest if template.segments[-1:] == (MANY,) else node.here
        if ends.setdefault((template.verb, route.verb), (route, template))[0] is not route:
            raise ValueError(f"two routes for {route.verb} {route.template}")


def _readings(path: str) -> Iterator[tuple[list[str], str]]:
    """Segments and verb: first with what follows the last colon as the verb, then without one."""
    if not path.startswith("/") or _BROKEN.search(path):
        raise InvalidInput("the path is no path, or has a broken escape")
    segments = path[1:].split("/") if path != "/" else []
    if segments and ":" in segments[-1]:
        last, _, action = segments[-1].rpartition(":")
        yield [*segments[:-1], last], action
    yield segments, ""


def _matches(
    node: _Node, segments: Sequence[str], at: int
) -> Iterator[Mapping[tuple[str, str], tuple[Route, Template]]]:
    """All ends that the segments reach, the most specific first."""
    if at == len(segments):
        if node.here:
            yield node.here
    else:
        if literal := node.literals.get(segments[at]):
            yield from _matches(literal, segments, at + 1)
        if node.one and segments[at]:
            yield from _matches(node.one, segments, at + 1)
    if node.rest:
        yield node.rest


def _decoded(segment: str) -> str:
    if "%" not in segment:
        return segment
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise InvalidInput("the path is not UTF-8") from None


def _variables(template: Template, raw: Sequence[str]) -> Mapping[str, str]:
    found = {}
    for variable in template.variables:
        segments = raw[variable.first : variable.end]
        found[variable.name] = "/".join(map(_partly if variable.many else _decoded, segments))
    return found


def _partly(segment: str) -> str:
    """Decoded but for slashes, which would look like those between segments."""
    parts = _SLASH.split(segment)
    return "".join(part if index % 2 else _decoded(part) for index, part in enumerate(parts))
