"""Clients that others wrote do what ours do: log in, file once, list, follow, and read what is wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2, status_pb2

from controlplane.api.methods import FILES
from controlplane.gateway.table import openapi
from swarm_sdk import Client
from swarm_sdk.types import Role, UserSpec
from tests.fakes.control import Control

HERE = Path(__file__).parent / "peers"
PASSWORD = "correct horse battery"
PACKAGES = (
    "@grpc/grpc-js@1",
    "@grpc/proto-loader@0.8",
    "typescript@5",
    "openapi-typescript@7",
    "openapi-fetch@0.14",
)

pytestmark = [pytest.mark.optional_peer, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def peers(root: Path) -> Path:
    """A folder with the packages, filled once and kept; node looks for packages in the folders above a script."""
    if missing := [name for name in ("node", "npm") if shutil.which(name) is None]:
        pytest.skip(f"clients of others need {' and '.join(missing)}")
    folder = root / ".cache" / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "installed").exists():
        (folder / "package.json").write_text('{"private": true, "type": "commonjs"}\n')
        install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
        done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False, timeout=240)
        if done.returncode:
            pytest.skip(f"npm cannot install the clients of others: {done.stderr[-300:]}")
        (folder / "installed").touch()
    for script in HERE.iterdir():
        shutil.copy(script, folder)
    return folder


@pytest.fixture
async def ann(client: Client) -> None:
    """Who they log in as."""
    await client.admin.create_user(
        UserSpec(email="ann@example.org", name="Ann", role=Role.ROLE_DEVELOPER), password=PASSWORD
    )


async def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What a program says that ends well."""
    program = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=os.environ | {"PASSWORD": PASSWORD},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        said, faults = await program.communicate()
    assert program.returncode == 0, (said + faults).decode()
    return said.decode()


def expect(told: Mapping[str, Any]) -> None:
    assert told["made"] == told["again"] == "TKT-001"
    assert told["listed"] == ["TKT-001"]
    assert told["event"] == "ticket.created"
    assert told["code"] == "INVALID_ARGUMENT"


def descriptors() -> bytes:
    """All files of the API with what they import, each after those."""
    found: dict[str, FileDescriptor] = {}

    def add(file: FileDescriptor) -> None:
        for needed in file.dependencies:
            add(needed)
        found.setdefault(file.name, file)

    for each in FILES:
        add(each.DESCRIPTOR)
    whole = FileDescriptorSet()
    for file in found.values():
        file.CopyToProto(whole.file.add())
    return whole.SerializeToString()


async def test_grpc_js(control: Control, ann: None, peers: Path, tmp_path: Path) -> None:
    (tmp_path / "api.binpb").write_bytes(descriptors())
    told = json.loads(await run("node", peers / "grpc.js", f"unix:{control.socket}", tmp_path / "api.binpb"))
    expect(told)
    status = status_pb2.Status.FromString(base64.b64decode(told["details"][0]))
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details)
    assert bad.field_violations[0].field == "/spec/title"


async def test_the_websocket_of_browsers(control: Control, ann: None, peers: Path) -> None:
    told = json.loads(await run("node", "--experimental-websocket", peers / "browser.mjs", control.url))
    expect(told)
    assert told["field"] == "/spec/title"
    assert told["compressed"]


async def test_a_client_with_types_of_the_document(control: Control, ann: None, peers: Path) -> None:
    (peers / "openapi.json").write_bytes(openapi())
    programs = peers / "node_modules" / ".bin"
    await run(programs / "openapi-typescript", "openapi.json", "-o", "schema.d.ts", cwd=peers)
    options = ["--strict", "--module", "esnext", "--target", "es2022", "--moduleResolution", "bundler"]
    await run(programs / "tsc", *options, "typed.ts", cwd=peers)
    (peers / "typed.js").replace(peers / "typed.mjs")
    expect(json.loads(await run("node", "typed.mjs", control.url, cwd=peers)))


async def test_curl(control: Control, ann: None, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not here")
    head = tmp_path / "head"  # a token has no place in a list of processes

    async def ask(path: str, *more: str) -> Any:
        known = ["-H", f"@{head}"] if head.exists() else []
        return json.loads(await run("curl", "-sS", "--compressed", *known, *more, control.url + path))

    login = await ask("/api/auth/login", "--json", json.dumps({"email": "ann@example.org", "password": PASSWORD}))
    head.write_text(f"Authorization: Bearer {login['tokens']['access_token']}\n")
    filing = ["-H", "Idempotency-Key: from-curl", "--json", '{"title": "Port it"}']
    made, again = await ask("/api/tickets", *filing), await ask("/api/tickets", *filing)
    listed, refused = await ask("/api/tickets"), await ask("/api/tickets", "--json", '{"title": ""}')
    events = await ask(f"/api/tickets/{made['id']}/events")
    expect(
        {
            "made": made["key"],
            "again": again["key"],
            "listed": [each["key"] for each in listed["tickets"]],
            "event": events["events"][0]["type"],
            "code": refused["code"],
        }
    )


async def test_grpcurl(control: Control, ann: None) -> None:
    if shutil.which("grpcurl") is None:
        pytest.skip("grpcurl is not here")
    address = f"unix://{control.socket}"
    login = json.dumps({"email": "ann@example.org", "password": PASSWORD})
    answer = await run("grpcurl", "-plaintext", "-d", login, address, "swarm.auth.v1.AuthService/Login")
    token = json.loads(answer)["tokens"]["accessToken"]
    known = ["-plaintext", "-H", f"authorization: Bearer {token}"]
    made = await run(
        "grpcurl", *known, "-d", '{"spec": {"title": "x"}}', address, "swarm.ticket.v1.TicketService/CreateTicket"
    )
    assert json.loads(made)["ticket"]["key"] == "TKT-001"
