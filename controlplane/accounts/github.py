"""GitHub's authorization code flow, as its documentation describes it. Nothing of its tokens is kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp

from controlplane.domain.user import email_in
from controlplane.errors import InvalidInput, Unauthenticated, Unavailable
from controlplane.identity import OauthProfile
from controlplane.secret import Secret

SCOPE: Final = "read:user user:email"
TIMEOUT: Final = aiohttp.ClientTimeout(total=15)
LONGEST_ANSWER: Final = 1 << 20
SERVER_ERROR: Final = 500
# What a code that is old, used or made up is answered with; everything else is a fault of the configuration.
BAD_CODE: Final = "bad_verification_code"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Github:
    """Implements identity.OauthProvider. `redirect_url` is ours, exactly as it is registered there.

    `client_secret` says the one of now.
    """

    client_id: str
    client_secret: Callable[[], Secret]
    redirect_url: str
    url: str = "https://github.com"
    api_url: str = "https://api.github.com"
    name: str = "github"

    def authorize_url(self, state: str, challenge: str) -> str:
        query = {
            "client_id": self.client_id,
            "redirect_uri": self.redirect_url,
            "scope": SCOPE,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "allow_signup": "false",
        }
        return f"{self.url}/login/oauth/authorize?{urlencode(query)}"

    async def profile(self, code: str, verifier: str) -> OauthProfile:
        try:
            async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
                token = await self._token(session, code, verifier)
                user = await self._get(session, token, "/user")
                emails = await self._get(session, token, "/user/emails?per_page=100")
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise Unavailable(f"GitHub cannot be asked: {type(fault).__name__}", reason="oauth_failed") from None
        return profile_of(user, emails)

    async def _get(self, session: aiohttp.ClientSession, token: str, path: str) -> Any:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
        return await _json(session.get(self.api_url + path, headers=headers, allow_redirects=False))

    async def _token(self, session: aiohttp.ClientSession, code: str, verifier: str) -> str:
        """Errors come with status 200 and their name in the body."""
        form = {
            "client_id": self.client_id,
            "client_secret": self.client_secret().reveal(),
            "code": code,
            "redirect_uri": self.redirect_url,
            "code_verifier": verifier,
        }
        url, accept = f"{self.url}/login/oauth/access_token", {"Accept": "application/json"}
        answer = await _json(session.post(url, data=form, headers=accept, allow_redirects=False))
        if isinstance(answer, dict) and isinstance(token := answer.get("access_token"), str):
            return token
        error = str(answer.get("error"))[:100] if isinstance(answer, dict) else "no object"
        if error == BAD_CODE:
            raise Unauthenticated("begin again: GitHub does not know this code any more", reason="invalid_code")
        log.error("GitHub gives no token", extra={"error": error})
        raise Unavailable(f"GitHub gives no token: {error}", reason="oauth_failed")


async def _json(call: Any) -> Any:
    """The answer to a request, whole and of a sane size; Unavailable for any other."""
    async with call as response:
        body = await response.content.read(LONGEST_ANSWER)
        if response.status >= SERVER_ERROR or not response.content.at_eof():
            raise Unavailable(f"GitHub answered {response.status}", reason="oauth_failed")
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            raise Unavailable(f"GitHub answered {response.status}, and no JSON", reason="oauth_failed") from None
        if response.status != 200:  # noqa: PLR2004  # the only success of these calls
            raise Unavailable(f"GitHub answered {response.status}", reason="oauth_failed")
        return answer


def profile_of(user: Any, emails: Any) -> OauthProfile:
    """Whom it says it is. Only verified addresses count, the primary one first."""
    if not isinstance(user, dict) or type(user.get("id")) is not int or not isinstance(emails, list):
        raise Unavailable("GitHub's answer is not what it documents", reason="oauth_failed")
    found = [each for each in emails if isinstance(each, dict) and each.get("verified") is True]
    found.sort(key=lambda each: each.get("primary") is not True)
    addresses = tuple(filter(None, (_address(each.get("email")) for each in found)))
    return OauthProfile(str(user["id"]), str(user.get("login") or ""), str(user.get("name") or ""), addresses)


def _address(text: Any) -> str:
    try:
        return email_in(text) if isinstance(text, str) else ""
    except InvalidInput:
        return ""
