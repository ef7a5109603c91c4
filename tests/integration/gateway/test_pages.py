"""The forms that links lead to, and a WebSocket, in a real browser."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect

from swarm_sdk import Client, TicketSpec
from swarm_sdk.types import Role, UserSpec
from tests.fakes.control import Control, control_plane
from tests.fakes.github import REDIRECT, Account, FakeGithub, fake_github
from tests.integration.accounts.people import App

CHROMIUM = shutil.which("chromium")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


class Page:
    """A tab, by the DevTools protocol."""

    def __init__(self, link: ClientConnection) -> None:
        self._link = link
        self._numbers = itertools.count(1)

    async def tell(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        await self._link.send(json.dumps({"id": number, "method": method, "params": params}))
        while (answer := json.loads(await self._link.recv())).get("id") != number:
            pass
        return answer["result"]

    async def value(self, script: str) -> Any:
        return (await self.tell("Runtime.evaluate", expression=script, awaitPromise=True))["result"].get("value")

    async def until(self, script: str) -> Any:
        while not (found := await self.value(script)):  # noqa: ASYNC110 - a page tells nobody
            await asyncio.sleep(0.05)
        return found


@asynccontextmanager
async def tab(url: str, home: Path) -> AsyncIterator[Page]:
    assert CHROMIUM
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={home}")
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM, *flags, url, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert browser.stderr
    try:
        port = ""
        async with asyncio.timeout(60):
            while not port:
                line = (await browser.stderr.readline()).decode()
                port = found[1] if (found := re.search(r"ws://127\.0\.0\.1:(\d+)/", line)) else ""
            async with aiohttp.ClientSession() as web, web.get(f"http://127.0.0.1:{port}/json") as answer:
                target = next(each for each in await answer.json() if each["type"] == "page")
        async with connect(target["webSocketDebuggerUrl"]) as link:
            yield Page(link)
    finally:
        browser.terminate()
        await browser.communicate()


FILL = """
for (const [name, value] of Object.entries(%s)) document.querySelector(`[name=${name}]`).value = value;
document.querySelector("form").requestSubmit();
"""


@needs_browser
@pytest.mark.optional_peer
async def test_the_setup_link_makes_the_first_account(home: Path, tmp_path: Path) -> None:
    async with control_plane(home) as control:
        link = (home / "setup.url").read_text().strip()
        async with tab(link, tmp_path / "browser") as page, asyncio.timeout(60):
            await page.until("document.readyState === 'complete' && !!document.querySelector('form')")
            filled = {"email": "root@example.org", "name": "Root", "password": "short"}
            await page.value(FILL % json.dumps(filled))
            assert "password" in await page.until("document.querySelector('[role=status].bad')?.textContent")
            filled["password"] = "correct horse battery staple"
            await page.value(FILL % json.dumps(filled))
            done = (
                "document.querySelector('form label') === null && document.querySelector('[role=status]').textContent"
            )
            assert "swarm login" in await page.until(done)
        async with aiohttp.ClientSession(control.url) as web:
            body = {"email": filled["email"], "password": filled["password"]}
            async with web.post("/api/auth/login", json=body) as answer:
                assert answer.status == 200


ANN = Account(7, "ann-gh", "Ann", [("ann@example.org", True, True)])
EVE = Account(8, "eve-gh", "Eve", [("eve@elsewhere.org", True, True)])
PASSWORD = "correct horse battery staple"
STATUS = "document.querySelector('[role=status]').textContent"


@pytest.fixture
async def github() -> AsyncIterator[FakeGithub]:
    async with fake_github() as fake:
        yield fake


@pytest.fixture
async def linked(home: Path, github: FakeGithub) -> AsyncIterator[Control]:
    """A control plane that Ann logs in to with GitHub."""
    settings = {
        **github.settings,
        "rate_limit_auth": 1000,
    }
    async with control_plane(home, **settings) as control, control.client() as admin:
        spec = UserSpec(email="ann@example.org", name="Ann", role=Role.ROLE_VIEWER)
        await admin.admin.create_user(spec, password=PASSWORD)
        yield control


async def back(control: Control, github: FakeGithub, account: Account | None) -> str:
    """The address that GitHub sends the browser to, here."""
    async with control.client() as client:
        started = await client.auth.start_github()
    return f"{control.url}{urlsplit(REDIRECT).path}?{urlencode(github.authorize(started.url, account))}"


@asynccontextmanager
async def sent_back(control: Control, github: FakeGithub, account: Account | None, home: Path) -> AsyncIterator[Page]:
    """A tab that began a login at GitHub and comes back from there."""
    callback = f"{control.url}{urlsplit(REDIRECT).path}"
    async with tab(callback, home) as page, asyncio.timeout(60):
        await begin(page, github)
        found = github.authorize(await page.value("location.href"), account)
        await page.tell("Page.navigate", url=f"{callback}?{urlencode(found)}")
        yield page


async def begin(page: Page, github: FakeGithub) -> None:
    """From the page that says why not to GitHub."""
    await page.until("document.querySelector('#again')?.hidden === false")
    await page.value("document.querySelector('#again').click()")
    await page.until(f"location.href.startsWith({json.dumps(github.url)})")


@needs_browser
@pytest.mark.optional_peer
async def test_a_way_back_that_another_began_opens_nothing(linked: Control, github: FakeGithub, tmp_path: Path) -> None:
    async with tab(await back(linked, github, ANN), tmp_path / "browser") as page, asyncio.timeout(60):
        said = await page.until("document.querySelector('[role=status].bad')?.textContent")
        assert "not begun in this window" in said
        assert await page.value("sessionStorage.length") == 0


@needs_browser
@pytest.mark.optional_peer
async def test_github_sends_people_back_to_a_page(linked: Control, github: FakeGithub, tmp_path: Path) -> None:
    async with sent_back(linked, github, ANN, tmp_path / "browser") as page:
        await page.until(f"!document.querySelector('#on')?.hidden && {STATUS}.includes('ann@example.org')")
        assert urlsplit(await page.value("location.href")).query == ""
        tokens = json.loads(await page.value("sessionStorage.getItem('swarm.tokens')"))
        async with Client(f"unix:{linked.socket}", tokens["access_token"]) as ann:
            assert (await ann.auth.me()).user.email == "ann@example.org"


@needs_browser
@pytest.mark.optional_peer
async def test_the_page_asks_for_the_second_factor(linked: Control, github: FakeGithub, tmp_path: Path) -> None:
    async with linked.client() as admin:
        tokens = (await admin.auth.login("ann@example.org", PASSWORD)).tokens
    async with Client(f"unix:{linked.socket}", tokens.access_token) as ann:
        app = App((await ann.auth.enroll_totp(PASSWORD)).secret)
        await ann.auth.confirm_totp(app.code(-1))
    async with sent_back(linked, github, ANN, tmp_path / "browser") as page:
        await page.until("document.querySelector('form')?.hidden === false")
        await page.value(FILL % json.dumps({"code": "000000"}))
        await page.until("document.querySelector('[role=status].bad')?.textContent")
        await page.value(FILL % json.dumps({"code": app.code()}))
        await page.until(f"{STATUS}.includes('ann@example.org')")


@needs_browser
@pytest.mark.optional_peer
@pytest.mark.parametrize(("account", "words"), [(EVE, "ask an admin"), (None, "did not log you in")])
async def test_the_page_says_why_not_and_begins_again(
    linked: Control, github: FakeGithub, tmp_path: Path, account: Account | None, words: str
) -> None:
    async with sent_back(linked, github, account, tmp_path / "browser") as page:
        await page.until(f"document.querySelector('[role=status].bad')?.textContent.includes({json.dumps(words)})")
        assert await page.value("sessionStorage.length") == 0
        await begin(page, github)


@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
async def test_programs_that_github_sends_back_get_json_that_nobody_keeps(
    linked: Control, github: FakeGithub, accept: str | None
) -> None:
    headers = {"Accept": accept} if accept else {}
    async with aiohttp.ClientSession() as web:
        async with web.get(await back(linked, github, ANN), headers=headers) as answer:
            assert (await answer.json())["tokens"]["user"]["email"] == "ann@example.org"
            assert (answer.headers["Cache-Control"], "ETag" in answer.headers) == ("no-store", False)
        async with web.get(await back(linked, github, ANN), headers={"Accept": "text/html,*/*;q=0.8"}) as answer:
            assert answer.content_type == "text/html"
            assert (answer.headers["Cache-Control"], "Accept" in answer.headers["Vary"]) == ("no-store", True)
            assert "swm_" not in await answer.text()


WATCH = """
new Promise((resolve, reject) => {
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws?token=%s`);
  socket.onclose = (closed) => reject(new Error(closed.code));
  socket.onmessage = (message) => {
    const told = JSON.parse(message.data);
    if (told.type === "ready") socket.send(JSON.stringify({ type: "subscribe", rooms: ["ticket:%s"], cursor: 0 }));
    if (told.data?.reason) resolve(JSON.stringify([socket.extensions, told.data.reason]));
  };
})
"""


@needs_browser
@pytest.mark.optional_peer
async def test_a_browser_reads_what_is_compressed(control: Control, client: Client, tmp_path: Path) -> None:
    reason = "nobody needs it any more " * 20
    ticket = await client.tickets.create(TicketSpec(title="x"))
    await client.tickets.cancel(ticket.id, reason)
    async with tab(f"{control.url}/setup", tmp_path / "browser") as page, asyncio.timeout(60):
        await page.until("document.readyState === 'complete' && location.protocol === 'http:'")
        extensions, told = json.loads(await page.value(WATCH % (control.token(), ticket.id)))
        assert (extensions.split(";")[0], told) == ("permessage-deflate", reason)


async def test_every_file_of_a_form_comes_from_here(stranger: aiohttp.ClientSession) -> None:
    for path in ("/setup", "/reset-password"):
        async with stranger.get(path) as answer:
            page = await answer.text()
            assert (answer.status, answer.content_type) == (200, "text/html")
            assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        files = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert sorted(files) == ["/pages/form.css", "/pages/form.js"]
        for file in files:
            async with stranger.get(file) as answer:
                assert answer.status == 200
    for path in ("/pages/", "/pages/setup.html", "/setup/x"):
        async with stranger.get(path) as answer:
            assert answer.status == 404
