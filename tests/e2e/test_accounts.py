"""A person and a control plane, over HTTP only: in, out, in again without the password, with an app, with GitHub."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.github import CLIENT_ID, REDIRECT, SECRET, Account, FakeGithub, fake_github
from tests.fakes.mail import MailServer, mail_server
from tests.integration.accounts.people import PASSWORD, App
from tests.integration.controlplane.test_process import free_port, process

EMAIL, NEW = "ann@example.org", "another horse battery"
ANN = Account(7, "ann-gh", "Ann", [(EMAIL, True, True)])


@dataclass
class Browser:
    """Calls, and what has to come of them."""

    web: aiohttp.ClientSession
    token: str = ""

    async def call(self, method: str, path: str, body: Any = None, *, status: int = 200, query: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self.web.request(method, f"/api/auth/{path}", json=body, params=query, headers=headers) as answer:
            told = await answer.json()
            assert answer.status == status, told
            return told

    async def post(self, path: str, status: int = 200, **body: str) -> Any:
        return await self.call("POST", path, body, status=status)

    async def log_in(self, password: str) -> Any:
        return await self.post("login", email=EMAIL, password=password)

    async def whoami(self, token: str, status: int = 200) -> Any:
        self.token = token
        return await self.call("GET", "me", status=status)


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, as Unix sockets need."""
    with tempfile.TemporaryDirectory(prefix="swarm-") as folder:
        yield Path(folder) / "state"


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.fixture
async def github() -> AsyncIterator[FakeGithub]:
    async with fake_github() as fake:
        yield fake


@pytest.fixture
async def browser(home: Path, mails: MailServer, github: FakeGithub) -> AsyncIterator[Browser]:
    env_file = home.parent / "secrets.env"
    env_file.write_text(f"SWARM_GITHUB_CLIENT_SECRET={SECRET}\nSWARM_SMTP_URL=smtp://127.0.0.1:{mails.port}\n")
    env_file.chmod(0o600)
    port = free_port()
    options = {
        "rate-limit-auth": "1000",
        "env-file": str(env_file),
        "smtp-from": "swarm@example.org",
        "http": f"127.0.0.1:{port}",
        "http-url": f"http://127.0.0.1:{port}",
        "github-client-id": CLIENT_ID,
        "github-redirect-url": REDIRECT,
        "github-url": github.url,
        "github-api-url": f"{github.url}/api",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    async with process(home, *arguments):
        url = (home / "http.url").read_text().strip()
        async with aiohttp.ClientSession(url) as web:
            yield Browser(web)


def token_in(text: str) -> str:
    found = re.search(r"#token=(\S+)", text)
    assert found
    return found[1]


async def test_the_life_of_an_account(browser: Browser, home: Path, mails: MailServer, github: FakeGithub) -> None:
    link = token_in((home / "setup.url").read_text())
    made = await browser.post("setup", token=link, email=EMAIL, name="Ann", password=PASSWORD)
    assert (await browser.whoami(made["access_token"]))["user"]["email"] == EMAIL
    await browser.post("setup", 401, token=link, email="eve@example.org", name="Eve", password=PASSWORD)

    await browser.post("logout")
    await browser.whoami(made["access_token"], 401)
    await browser.post("refresh", 401, refresh_token=made["refresh_token"])

    first = (await browser.log_in(PASSWORD))["tokens"]
    second = await browser.post("refresh", refresh_token=first["refresh_token"])
    await browser.whoami(second["access_token"])
    await browser.post("refresh", 401, refresh_token=first["refresh_token"])
    await browser.whoami(second["access_token"], 401)  # a copy was about

    await browser.post("forgot-password", email=EMAIL)
    reset = token_in((await mails.mail())[2])
    await browser.post("reset-password", token=reset, new_password=NEW)
    await browser.post("reset-password", 401, token=reset, new_password=NEW)
    await browser.post("login", 401, email=EMAIL, password=PASSWORD)

    browser.token = (await browser.log_in(NEW))["tokens"]["access_token"]
    app = App((await browser.post("totp/enroll", password=NEW))["secret"])
    recovery = (await browser.post("totp/confirm", code=app.code(-1)))["recovery_codes"]
    challenge = (await browser.log_in(NEW))["challenge"]
    await browser.post("login/totp", 401, challenge=challenge, code=app.code(-1))  # it was used
    known = await browser.post("login/totp", challenge=challenge, code=app.code())
    await browser.whoami(known["access_token"])

    started = await browser.call("GET", "github")
    back = github.authorize(started["url"], ANN)
    answer = await browser.call("GET", "github/callback", query=back)
    through = await browser.post("login/totp", challenge=answer["challenge"], code=recovery[0])
    assert (await browser.whoami(through["access_token"]))["user"]["email"] == EMAIL
    await browser.call("GET", "github/callback", status=401, query=back)
    await browser.post("totp/disable", code=app.code(1))
    assert "tokens" in await browser.log_in(NEW)
