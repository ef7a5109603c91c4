"""What the OpenAPI document says is what is served, whatever a client makes of it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from controlplane.gateway.table import openapi
from tests.extent import either, minutes, seed
from tests.fakes.control import control_plane

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "rejects_what_is_no_protojson",
    "unsupported_method",
    "ignored_auth",
)
# No host is there to boot a VM on, and what is too long for its place has codes of its own.
EXPECTED = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503]
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 422, 429, 431]
"""
HOOKS = "tests.integration.gateway.protojson_hooks"
UNLIMITED = {"rate_limit": 10**6, "rate_limit_auth": 10**6, "rate_limit_ai": 10**6, "rate_limit_lease": 10**6}


def endless(document: Mapping[str, Any]) -> Iterator[str]:
    """Operations that answer until somebody hangs up, whose tests are elsewhere."""
    for path in document["paths"].values():
        for operation in path.values():
            answers = operation["responses"]
            if "101" in answers or "application/x-ndjson" in answers["200"]["content"]:
                yield operation["operationId"]


def at_length() -> Sequence[str]:
    """As many examples as the time allows."""
    return ("--max-examples", "100000", "--max-time", str(int(60 * minutes()) or 1), "--seed", str(seed()))


@pytest.mark.timeout(600 + 120 * minutes())
async def test_nothing_that_is_served_differs_from_the_document(home: Path, tmp_path: Path, root: Path) -> None:
    left_out = [word for name in endless(json.loads(openapi())) for word in ("--exclude-operation-id", name)]
    (tmp_path / "schemathesis.toml").write_text(EXPECTED)
    async with control_plane(home, **UNLIMITED) as control:
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{control.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {control.token()}", "--checks", ",".join(CHECKS)),
            *("--phases", either("coverage", "examples,coverage,fuzzing")),
            *either(("--max-examples", "1", "--seed", "1", "--generation-deterministic"), at_length()),
            *("--mode", "all", "--continue-on-failure", "--request-timeout", "20", "--no-color", *left_out),
            cwd=tmp_path,
            env=os.environ | {"SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(root)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await program.communicate()
    assert program.returncode == 0, told.decode()[-30_000:]
