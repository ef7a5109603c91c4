from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from swarm.http.routes import ROUTES
from tests.unit.gateway.compiled import Generated, descriptor_set, generate


@pytest.fixture(scope="module")
def ours(root: Path) -> Any:
    return json.loads((root / "proto/gen/swarm/http/openapi.json").read_text())


@pytest.fixture(scope="module")
def theirs(generated: Generated) -> Any:
    return json.loads((generated.out / "openapi.json").read_text())


@pytest.mark.parametrize("which", ["ours", "theirs"])
def test_the_document_is_valid(request: pytest.FixtureRequest, which: str) -> None:
    assert list(OpenAPIV31SpecValidator(request.getfixturevalue(which)).iter_errors()) == []


def operations(document: Any) -> dict[str, Any]:
    return {each["operationId"]: each for path in document["paths"].values() for each in path.values()}


def test_every_route_is_there(ours: Any) -> None:
    found = {(verb.upper(), path) for path, verbs in ours["paths"].items() for verb in verbs}
    assert found == {(route.verb, re.sub(r"=[^}]*", "", route.template)) for route in ROUTES}


def test_comments_and_rules_are_taken_over(ours: Any) -> None:
    get = operations(ours)["TicketService_GetTicket"]
    assert get["tags"] == ["TicketService"]
    assert get["summary"] == "`id` is an id or a key such as TKT-001"
    assert get["parameters"] == [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 64}}
    ]
    spec = ours["components"]["schemas"]["swarm.ticket.v1.TicketSpec"]
    assert spec["properties"]["title"] == {"type": "string", "minLength": 1, "maxLength": 500}
    assert spec["properties"]["priority"]["maximum"] == 9
    assert spec["properties"]["tags"]["items"] == {"type": "string", "minLength": 1, "maxLength": 63}
    assert spec["additionalProperties"] is False


def test_what_is_only_answered_is_whole(ours: Any) -> None:
    """Answers tell zeros and empty lists; requests may leave them out, and what is both is as in requests."""
    schemas = ours["components"]["schemas"]
    listed = schemas["swarm.ticket.v1.ListTicketsResponse"]
    assert listed["required"] == list(listed["properties"])
    ticket = schemas["swarm.ticket.v1.Ticket"]
    assert {"id", "state", "causes"} <= set(ticket["required"])
    assert not {"spec", "created_at"} & set(ticket["required"])
    assert "required" not in schemas["swarm.ticket.v1.Resources"]


def test_policies_are_told(ours: Any) -> None:
    create = operations(ours)["TicketService_CreateTicket"]
    assert [each["name"] for each in create["parameters"] if each["in"] == "header"] == ["Idempotency-Key"]
    assert create["x-least-role"] == "developer"
    assert set(ours["components"]["securitySchemes"]) == {"bearer", "key"}
    assert ours["components"]["schemas"]["Error"]["required"] == ["code", "message", "details", "request_id"]


ZOO = """syntax = "proto3";
package zoo.v%(version)s;
import "google/api/annotations.proto";
service Zoo { rpc Feed(Food) returns (Food) { option (google.api.http) = {get: "/v%(version)s/feed"}; } }
message Food {}
"""


def test_services_of_one_name_in_two_packages_are_told_apart(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / f"zoo{version}.proto").write_text(ZOO % {"version": version})
    descriptor_set(tmp_path, tmp_path / "zoo.binpb", "zoo1.proto", "zoo2.proto")
    assert generate(tmp_path / "zoo.binpb", tmp_path / "zoo").returncode == 0
    document = json.loads((tmp_path / "zoo" / "openapi.json").read_text())
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert sorted(operations(document)) == ["zoo_v1_Zoo_Feed", "zoo_v2_Zoo_Feed"]
    assert [each["name"] for each in document["tags"]] == ["zoo.v1.Zoo", "zoo.v2.Zoo"]


def test_streams_are_lines(ours: Any) -> None:
    watched = operations(ours)["TicketService_WatchTicket"]["responses"]["200"]
    assert list(watched["content"]) == ["application/x-ndjson"]
    assert "101" in operations(ours)["VmService_Console"]["responses"]


def test_parameters_of_all_kinds(theirs: Any) -> None:
    found = operations(theirs)
    query = {each["name"]: each for each in found["EverythingService_Search"]["parameters"] if each["in"] == "query"}
    assert {"page_size", "colors", "detail.pages", "limits", "flag", "age", "ages"} <= set(query)
    assert query["limits"]["style"] == "deepObject"
    assert not {"kind", "free", "details", "by_name", "detail.more.more.pages"} & set(query)
    get = found["EverythingService_Get"]["parameters"]
    assert get[0]["schema"]["pattern"] == "^shelves/[^/]+/books/.*$"
    patch = found["EverythingService_Patch"]
    assert [each["name"] for each in patch["parameters"]] == ["book.name_2", "update_mask", "allow_missing"]


def test_a_comment_gives_summary_and_description(theirs: Any) -> None:
    create = operations(theirs)["EverythingService_Create"]
    assert create["summary"] == "Makes one"
    assert create["description"] == "Makes one.\n\nThe second paragraph says more."


def test_typescript_names_what_is_there(root: Path) -> None:
    types = (root / "proto/gen/swarm/http/types.ts").read_text()
    assert "export interface Ticket {" in types
    assert "  fence: string;" in types
    assert "  created_at?: string;" in types
    assert '  "GET /api/tickets/{id}": { request: GetTicketRequest; answer: Ticket | null; };' in types
    assert 'export type ExecutionMode = "EXECUTION_MODE_UNSPECIFIED" | ' in types
