"""The API browser, the document it shows, and the probes of operators."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from pathlib import Path

import aiohttp

from tests.fakes.control import Control, control_plane


async def test_the_browser_and_all_its_files_come_from_here(stranger: aiohttp.ClientSession) -> None:
    async with stranger.get("/docs") as answer:
        page = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
        assert answer.content_type == "text/html"
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self'" in policy
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(files) == 6
    for path in files:
        assert path.startswith("/docs/")
        async with stranger.get(path) as answer:
            assert answer.status == 200
            assert await answer.read()
    for path in ("/docs/none", "/docs/swagger_ui_bundle/__init__.py"):
        async with stranger.get(path) as answer:
            assert answer.status == 404
    async with stranger.post("/docs") as answer:
        assert answer.status == 405


async def test_the_document_describes_what_is_served(stranger: aiohttp.ClientSession) -> None:
    async with stranger.get("/openapi.json") as answer:
        document = json.loads(await answer.read())
        tag = answer.headers["ETag"]
    assert document["openapi"].startswith("3.1")
    assert "post" in document["paths"]["/api/tickets"]
    async with stranger.get("/openapi.json", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304


async def test_probes(stranger: aiohttp.ClientSession) -> None:
    async with stranger.get("/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})
    async with stranger.get("/readyz") as answer:
        checks = {"store": "ok", "scheduler": "ok", "space": "ok"}
        assert (answer.status, await answer.json()) == (200, {"status": "ready", "checks": checks})


async def test_what_cannot_serve_is_named(home: Path) -> None:
    async with control_plane(home, min_free_mib=10**6) as control, aiohttp.ClientSession(control.url) as web:
        async with web.get("/readyz") as answer:
            found = await answer.json()
        assert answer.status == 503
        assert found["checks"]["store"] == "ok"
        assert "MiB free" in found["checks"]["space"]


async def test_metrics_are_for_this_machine_and_for_operators(
    stranger: aiohttp.ClientSession, control: Control
) -> None:
    async with stranger.get("/metrics") as answer:
        assert "swarm_api_requests_total" in await answer.text()
    proxied = {"X-Forwarded-For": "192.0.2.1"}
    async with stranger.get("/metrics", headers=proxied) as answer:
        assert answer.status == 403
    for token, status in ((control.token(), 200), (control.token("local"), 403), ("nobody", 401)):
        async with stranger.get("/metrics", headers=proxied | {"Authorization": f"Bearer {token}"}) as answer:
            assert answer.status == status


async def test_metrics_can_be_switched_off(home: Path) -> None:
    async with (
        control_plane(home, http_metrics=False) as control,
        aiohttp.ClientSession(control.url) as web,
        web.get("/metrics") as answer,
    ):
        assert answer.status == 404


async def test_curl_reads_a_list(control: Control) -> None:

    command = ["curl", "-sS", "--compressed", "--fail-with-body", "-H", f"Authorization: Bearer {control.token()}"]
    done = await asyncio.to_thread(
        subprocess.run, [*command, f"{control.url}/api/tickets?page_size=5"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"tickets": [], "next_page_token": ""}


async def test_nothing_is_left_in_the_state_directory_that_says_where_it_was(home: Path) -> None:
    async with control_plane(home) as control:
        assert control.url.startswith("http://127.0.0.1:")
    assert not (home / "http.url").exists()
