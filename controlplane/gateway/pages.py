"""The pages that links lead to, from the setup, from mails and from GitHub; their files are below /pages."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from typing import Final

from aiohttp import web

from controlplane.errors import NotFound
from controlplane.gateway.answers import tagged_answer
from controlplane.gateway.faults import expect_get
from controlplane.gateway.front import Handler

FROM_GITHUB: Final = "/api/auth/github/callback"
FOLDER: Final = Path(__file__).parent / "forms"
# By path; nothing else of the folder is served.
FILES: Final = {
    "/setup": ("setup.html", "text/html"),
    "/reset-password": ("reset-password.html", "text/html"),
    FROM_GITHUB: ("github.html", "text/html"),
    "/pages/form.css": ("form.css", "text/css"),
    "/pages/form.js": ("form.js", "text/javascript"),
    "/pages/github.js": ("github.js", "text/javascript"),
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def page(request: web.BaseRequest) -> web.Response:
    """A form, or what belongs to one."""
    expect_get(request)
    if request.path not in FILES:
        raise NotFound("there is nothing here")
    name, kind = FILES[request.path]
    answer = await tagged_answer(request, await asyncio.to_thread(_content, name), kind)
    answer.headers["Content-Security-Policy"] = POLICY
    return answer


def or_page(handle: Handler) -> Handler:
    """Shows a page to the browser that GitHub sends back; it asks for JSON there itself, as programs do."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        accepted = ",".join(request.headers.getall("Accept", ()))
        if request.path != FROM_GITHUB or request.method not in {"GET", "HEAD"} or "text/html" not in accepted:
            return await handle(request)
        shown = await page(request)
        shown.headers["Cache-Control"] = "no-store"
        shown.headers["Vary"] = f"{shown.headers['Vary']}, Accept"
        return shown

    return answer


@cache
def _content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
