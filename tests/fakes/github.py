"""GitHub's OAuth web flow as docs.github.com describes it: codes that are good once, PKCE, errors with status 200."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

CLIENT_ID = "Iv1.0123456789abcdef"
SECRET = "the-secret-of-the-app"
REDIRECT = "https://swarm.example.org/api/auth/github/callback"


@dataclass
class Account:
    """Somebody there. `emails` are (address, primary, verified)."""

    id: int
    login: str
    name: str | None
    emails: list[tuple[str, bool, bool]]


@dataclass
class FakeGithub:
    """`failure` is what the token endpoint does instead: an error's name, an HTTP status, "hang" or "noise"."""

    url: str = ""
    failure: str = ""
    codes: dict[str, tuple[Account, str]] = field(default_factory=dict)  # with the challenge that came along
    tokens: dict[str, Account] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """Those of a control plane that logs people in here."""
        return {
            "secrets": {"SWARM_GITHUB_CLIENT_SECRET": SECRET},
            "github_client_id": CLIENT_ID,
            "github_redirect_url": REDIRECT,
            "github_url": self.url,
            "github_api_url": f"{self.url}/api",
        }

    def authorize(self, url: str, account: Account | None) -> dict[str, str]:
        """What the browser is sent back with; None: the person refuses. The redirect URI is the registered one."""
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.url}/login/oauth/authorize"
        assert query["client_id"] == CLIENT_ID
        assert query["redirect_uri"] == REDIRECT
        assert query["code_challenge_method"] == "S256"
        if account is None:
            return {"error": "access_denied", "state": query["state"]}
        code = secrets.token_hex(10)
        self.codes[code] = (account, query["code_challenge"])
        return {"code": code, "state": query["state"]}

    async def exchange(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        if self.failure == "hang":
            await asyncio.sleep(60)
        if self.failure == "noise":
            return web.Response(text="<html>")
        if self.failure.isdecimal():
            return web.Response(status=int(self.failure), text="Unicorn!")
        error = self.failure or self._fault(form)
        if error:
            return web.json_response({"error": error, "error_description": "…", "error_uri": "https://docs"})
        account, _ = self.codes.pop(str(form["code"]))
        token = f"gho_{secrets.token_hex(18)}"
        self.tokens[token] = account
        return web.json_response({"access_token": token, "scope": "read:user,user:email", "token_type": "bearer"})

    def _fault(self, form: Any) -> str:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, SECRET):
            return "incorrect_client_credentials"
        if form.get("redirect_uri") != REDIRECT:
            return "redirect_uri_mismatch"
        digest = hashlib.sha256(str(form.get("code_verifier")).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        known = self.codes.get(str(form.get("code")))
        return "" if known and known[1] == challenge else "bad_verification_code"

    async def user(self, request: web.Request) -> web.StreamResponse:
        account = self._account(request)
        return web.json_response({"id": account.id, "login": account.login, "name": account.name, "type": "User"})

    async def emails(self, request: web.Request) -> web.StreamResponse:
        found = self._account(request).emails
        return web.json_response([{"email": e, "primary": p, "verified": v, "visibility": None} for e, p, v in found])

    def _account(self, request: web.Request) -> Account:
        account = self.tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if account is None:
            raise web.HTTPUnauthorized(text='{"message": "Bad credentials"}')
        return account


@asynccontextmanager
async def fake_github() -> AsyncIterator[FakeGithub]:
    made = FakeGithub()
    app = web.Application()
    app.router.add_post("/login/oauth/access_token", made.exchange)
    app.router.add_get("/api/user", made.user)
    app.router.add_get("/api/user/emails", made.emails)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()
