from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format

from controlplane.errors import InvalidInput
from controlplane.gateway.router import Router
from tests.unit.gateway.compiled import Generated

Query = list[tuple[str, str]]


def call(generated: Generated, verb: str, path: str, query: Query = [], body: object = None) -> Any:  # noqa: B006  # never changed
    """The request as the reference prints it."""
    route, variables = Router(generated.routes).match(verb, path)
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = route.decode(variables, query, data)
    return json_format.MessageToDict(request, preserving_proto_field_name=True)


def refusal(generated: Generated, *given: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        call(generated, *given)
    return {each.field: each.description for each in refused.value.violations}


def test_a_body_is_the_whole_request(generated: Generated) -> None:
    book = {"name": "b", "longTitle": "t", "color": 1, "labels": {"a": "b"}}
    wanted = {"name": "b", "long_title": "t", "color": "COLOR_RED", "labels": {"a": "b"}}
    assert call(generated, "POST", "/v1/books", [], book) == wanted
    assert call(generated, "POST", "/v1/books", [], b"  ") == {}


def test_a_body_is_one_field_beside_path_and_query(generated: Generated) -> None:
    given = call(generated, "POST", "/v1/shelves/s/books", [("bookId", "7")], {"name": "b"})
    assert given == {"parent": "shelves/s", "book": {"name": "b"}, "book_id": "7"}


def test_a_body_may_be_a_map_or_of_free_form(generated: Generated) -> None:
    assert call(generated, "PUT", "/v1/tags", [], {"a": "1"}) == {"tags": {"a": "1"}}
    assert call(generated, "POST", "/v1/echo", [], {"a": [1, None]}) == {"a": [1.0, None]}


def test_bindings_share_a_method(generated: Generated) -> None:
    router = Router(generated.routes)
    for verb, path in [
        ("GET", "/v1/shelves/a/books/b/c"),
        ("GET", "/v1/books/b"),
        ("GET", "/v1/books/b:full"),
    ]:
        route, _ = router.match(verb, path)
        assert route.method == "everything.v1.EverythingService.Get"
    assert router.match("ARCHIVE", "/v1/books/b")[0].method.endswith(".Archive")
    assert router.match("POST", "/v1/books/b:archive")[0].method.endswith(".Archive")
    assert router.match("GET", "/v1/any/literal")[0].method.endswith(".Literal")
    assert router.match("GET", "/v1/any/other/x")[0].method.endswith(".Any")


def test_the_path_wins_over_the_body(generated: Generated) -> None:
    given = call(generated, "PATCH", "/v1/shelves/s", [], {"name": "other", "longTitle": "t"})
    assert given["book"] == {"name": "shelves/s", "long_title": "t"}


def test_a_patch_derives_its_mask(generated: Generated) -> None:
    body = {"longTitle": "t", "detail": {"pages": 3, "more": {"pages": 4}}, "tags": [], "labels": {"x": "y"}}
    assert call(generated, "PATCH", "/v1/shelves/s", [], body)["update_mask"] == (
        "longTitle,detail.pages,detail.more.pages,tags,labels"
    )


def test_a_given_mask_stays(generated: Generated) -> None:
    for spelling in ("long_title", "longTitle"):
        given = call(generated, "PATCH", "/v1/shelves/s", [("update_mask", spelling)], {"tags": ["x"]})
        assert given["update_mask"] == "longTitle"


def test_only_a_patch_derives_a_mask(generated: Generated) -> None:
    assert "update_mask" not in call(generated, "PUT", "/v1/shelves/s", [], {"tags": ["x"]})


def test_everything_that_a_query_can_say(generated: Generated) -> None:
    query = [
        *[("page_size", "12345678901"), ("colors", "COLOR_RED"), ("colors", "-1"), ("words", "a"), ("words", "b,c")],
        *[("exact", "true"), ("sure", "0"), ("digest", "-_8"), ("least", "1e-3"), ("age", "1.5s"), ("flag", "false")],
        *[("readMask", "a_b,c.d"), ("most", "-5"), ("note", "n"), ("detail.pages", "3"), ("detail.more.pages", "4")],
        *[("limits[a]", "1"), ("limits[b]", "2"), ("free", '{"x": [true]}'), ("left", "l"), ("ages", "1s")],
    ]
    assert call(generated, "GET", "/v1/search/COLOR_RED/2026-01-31T12:00:00Z", query) == {
        "kind": "COLOR_RED",
        "day": "2026-01-31T12:00:00Z",
        "page_size": "12345678901",
        "colors": ["COLOR_RED", "COLOR_NEGATIVE"],
        "words": ["a", "b,c"],
        "exact": True,
        "sure": False,
        "digest": "+/8=",
        "least": 0.001,
        "age": "1.500s",
        "flag": False,
        "read_mask": "aB,c.d",
        "most": "-5",
        "note": "n",
        "detail": {"pages": 3, "more": {"pages": 4}},
        "limits": {"a": 1, "b": 2},
        "free": {"x": [True]},
        "left": "l",
        "ages": ["1s"],
    }


@pytest.mark.parametrize(
    ("query", "at", "why"),
    [
        ([("nothing", "1")], "/nothing", "is not known"),
        ([("detail.nothing", "1")], "/detail.nothing", "is not known"),
        ([("exact.x", "1")], "/exact.x", "is not known"),
        ([("kind", "1")], "/kind", "is not for the query: the path or the body has it"),
        ([("exact", "yes")], "/exact", "must be true or false"),
        ([("exact", "1"), ("exact", "0")], "/exact", "is there twice"),
        ([("page_size", "1"), ("pageSize", "1")], "/page_size", "is there twice"),
        ([("page_size", "1.5")], "/page_size", "must be a whole number"),
        ([("page_size", "9223372036854775808")], "/page_size", "is out of range"),
        ([("colors", "1"), ("colors", "BLUE")], "/colors/1", None),
        ([("detail", "{}")], "/detail", "cannot be in a query"),
        ([("details", "{}")], "/details", "cannot be in a query"),
        ([("by_name[x]", "{}")], "/by_name", "cannot be in a query"),
        ([("limits", "1")], "/limits", "cannot be in a query"),
        ([("words[x]", "1")], "/words", "cannot be in a query"),
        ([("limits[a]", "x")], "/limits/a", "must be a whole number"),
        ([("limits[a]", "1"), ("limits[a]", "2")], "/limits", "has the key 'a' twice"),
        ([("left", "1"), ("right", "2")], "/right", "cannot be there with left"),
        ([("age", "1")], "/age", None),
        ([("free", "{")], "", None),
    ],
)
def test_what_a_query_cannot_say(generated: Generated, query: Query, at: str, why: str | None) -> None:
    found = refusal(generated, "GET", "/v1/search/1/2026-01-31T12:00:00Z", query)
    assert at in found
    assert why is None or found[at] == why


def test_a_path_variable_has_the_type_of_its_field(generated: Generated) -> None:
    assert set(refusal(generated, "GET", "/v1/search/BLUE/today")) == {"/kind", "/day"}


def test_all_faults_are_told_at_once(generated: Generated) -> None:
    body = {"name": 1, "longTitle": [], "detail": {"pages": "x", "more": []}, "tags": ["a", 2], "other": 1}
    assert set(refusal(generated, "POST", "/v1/shelves/s/books", [("x", "1")], body)) == {
        *("/x", "/book/name", "/book/longTitle", "/book/detail/pages", "/book/detail/more", "/book/tags/1"),
        "/book/other",
    }


def test_a_body_that_is_no_object_is_refused(generated: Generated) -> None:
    assert refusal(generated, "POST", "/v1/books", [], [1]) == {"": "must be an object"}
    assert refusal(generated, "PATCH", "/v1/shelves/s", [], "x") == {"/book": "must be an object"}


def test_no_body_binding_takes_no_body(generated: Generated) -> None:
    router = Router(generated.routes)
    assert not router.match("GET", "/v1/books/b")[0].has_body
    assert router.match("POST", "/v1/books")[0].has_body
    assert call(generated, "GET", "/v1/books/b", [], b"not json") == {"name": "b"}


def test_an_answer_may_be_one_field(generated: Generated) -> None:
    router = Router(generated.routes)
    get, _ = router.match("GET", "/v1/shelves/s/books/b")
    answer = generated.new("everything.v1.GetResponse")
    assert get.encode(answer) == b"null"
    answer.book.name = "b"
    assert json.loads(get.encode(answer))["name"] == "b"
    search, _ = router.match("GET", "/v1/search/1/2")
    assert search.encode(generated.new("everything.v1.SearchResponse", names=["a"])) == b'["a"]'
    tags, _ = router.match("PUT", "/v1/tags")
    assert tags.encode(generated.new("everything.v1.TagsRequest", tags={"a": 1})) == b'{"a":"1"}'


def test_routes_say_how_they_stream(generated: Generated) -> None:
    watch, variables = Router(generated.routes).match("GET", "/v1/watch/a/b")
    assert (watch.server_streaming, watch.client_streaming, variables) == (True, False, {"name": "a/b"})


def test_methods_without_a_rule_are_left_out_and_listed(generated: Generated) -> None:
    assert "everything.v1.EverythingService.Unbound" in generated.said.stderr
    assert not any(route.method.endswith(".Unbound") for route in generated.routes)
