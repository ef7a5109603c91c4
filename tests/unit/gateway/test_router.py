from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

from controlplane.errors import InvalidInput, MethodNotAllowed, NotFound
from controlplane.gateway.route import Route
from controlplane.gateway.router import Router
from controlplane.gateway.template import BadTemplate, parse_template


def route(verb: str, template: str) -> Route:
    return Route(
        method=template,
        verb=verb,
        template=template,
        client_streaming=False,
        server_streaming=False,
        decode=lambda _path, _query, _body: Empty(),
        encode=lambda _answer: b"{}",
        has_body=False,
    )


ROUTER = Router(
    [
        route("GET", "/"),
        route("GET", "/v1/books"),
        route("POST", "/v1/books"),
        route("GET", "/v1/books/{id}"),
        route("GET", "/v1/books/new"),
        route("POST", "/v1/books/{id}:cancel"),
        route("GET", "/v1/books/{id}/pages/{page}"),
        route("GET", "/v1/{name=shelves/*/books/*}"),
        route("GET", "/v1/{name=shelves/*/**}"),
        route("GET", "/v1/*/fixed"),
        route("GET", "/files/{path=**}"),
        route("GET", "/files/{path=**}:stat"),
        route("*", "/any/{x}"),
        route("PURGE", "/cache"),
        route("GET", "/a/b/{x}"),
        route("GET", "/a/{y}/c"),
        route("GET", "/a/b/c/d"),
    ]
)


@pytest.mark.parametrize(
    ("verb", "path", "template", "variables"),
    [
        ("GET", "/", "/", {}),
        ("GET", "/v1/books", "/v1/books", {}),
        ("GET", "/v1/books/new", "/v1/books/new", {}),
        ("GET", "/v1/books/b1", "/v1/books/{id}", {"id": "b1"}),
        ("POST", "/v1/books/b1:cancel", "/v1/books/{id}:cancel", {"id": "b1"}),
        ("POST", "/v1/books/a:b:cancel", "/v1/books/{id}:cancel", {"id": "a:b"}),
        ("GET", "/v1/books/b1:cancel", "/v1/books/{id}", {"id": "b1:cancel"}),
        ("GET", "/v1/books/b1/pages/2", "/v1/books/{id}/pages/{page}", {"id": "b1", "page": "2"}),
        ("GET", "/v1/shelves/s/books/b", "/v1/{name=shelves/*/books/*}", {"name": "shelves/s/books/b"}),
        ("GET", "/v1/shelves/s/x/y/z", "/v1/{name=shelves/*/**}", {"name": "shelves/s/x/y/z"}),
        ("GET", "/v1/shelves/s", "/v1/{name=shelves/*/**}", {"name": "shelves/s"}),
        ("GET", "/v1/thing/fixed", "/v1/*/fixed", {}),
        ("GET", "/files/a/b", "/files/{path=**}", {"path": "a/b"}),
        ("GET", "/files/a/b:stat", "/files/{path=**}:stat", {"path": "a/b"}),
        ("GET", "/files", "/files/{path=**}", {"path": ""}),
        ("BREW", "/any/1", "/any/{x}", {"x": "1"}),
        ("PURGE", "/cache", "/cache", {}),
        ("GET", "/a/b/c", "/a/b/{x}", {"x": "c"}),
        ("GET", "/a/z/c", "/a/{y}/c", {"y": "z"}),
        # One segment is decoded wholly, several but for slashes.
        ("GET", "/v1/books/a%2Fb%20c", "/v1/books/{id}", {"id": "a/b c"}),
        ("GET", "/v1/books/%e2%82%ac", "/v1/books/{id}", {"id": "€"}),
        ("GET", "/files/a%2Fb/%20%2f", "/files/{path=**}", {"path": "a%2Fb/ %2f"}),
        ("GET", "/v1/%62ooks", "/v1/books", {}),
        ("GET", "/v1/books/a%3Acancel", "/v1/books/{id}", {"id": "a:cancel"}),
    ],
)
def test_the_most_specific_route_is_found(verb: str, path: str, template: str, variables: dict[str, str]) -> None:
    found, bound = ROUTER.match(verb, path)
    assert (found.template, dict(bound)) == (template, variables)


@pytest.mark.parametrize("path", ["/v1", "/v1/books/", "/v1/books//pages/1", "/nothing", "/v1/books/b/pages/1/x", ""])
def test_other_paths_are_not_found(path: str) -> None:
    with pytest.raises(NotFound if path else InvalidInput):
        ROUTER.match("GET", path)


def test_another_method_is_named() -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        ROUTER.match("DELETE", "/v1/books")
    assert refused.value.allow == ("GET", "POST")
    assert refused.value.http_status == 405


@pytest.mark.parametrize("path", ["/v1/books/%zz", "/v1/books/%", "/v1/books/%ff"])
def test_bad_escapes_are_bad_input(path: str) -> None:
    with pytest.raises(InvalidInput):
        ROUTER.match("GET", path)


def test_two_equal_routes_are_refused() -> None:
    with pytest.raises(ValueError, match="two routes"):
        Router([route("GET", "/a/{x}"), route("GET", "/a/{y}")])


@pytest.mark.parametrize(
    "text",
    [
        *("", "a/b", "/a//b", "/a/", "/a/{b", "/a/b}", "/a/{b}{c}", "/a/{b={c}}", "/a/{=x}", "/a/{1b}", "/a/{b=}"),
        *("/a/**/b", "/a/{b=**}/c", "/a/{b}/{b}", "/a:b:c", "/a:", "/a:{b}", "/a/x{b}", "/a b", "/a:b/c", "/a/***"),
    ],
)
def test_bad_templates_are_refused(text: str) -> None:
    with pytest.raises(BadTemplate):
        parse_template(text)


def test_variables_know_their_segments() -> None:
    template: Any = parse_template("/v1/{a.b=x/*/y/**}:verb")
    assert template.segments == ("v1", "x", "*", "y", "**")
    assert template.verb == "verb"
    assert [(each.name, each.first, each.end, each.many) for each in template.variables] == [("a.b", 1, None, True)]


def test_head_is_get_unless_it_has_a_rule_of_its_own() -> None:
    router = Router([route("GET", "/v1/{x}"), route("HEAD", "/v1/{x}/there"), route("GET", "/v1/{x}/there")])
    assert router.match("HEAD", "/v1/a")[0].verb == "GET"
    assert router.match("HEAD", "/v1/a/there")[0].verb == "HEAD"
    assert router.match("GET", "/v1/a/there")[0].verb == "GET"
