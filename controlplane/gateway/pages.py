"""The forms that links lead to, from the setup and from mails; their files are below /pages."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from typing import Final

from aiohttp import web

from controlplane.errors import NotFound
from controlplane.gateway.answers import tagged_answer
from controlplane.gateway.faults import expect_get

FOLDER: Final = Path(__file__).parent / "forms"
# By path; nothing else of the folder is served.
FILES: Final = {
    "/setup": ("setup.html", "text/html"),
    "/reset-password": ("reset-password.html", "text/html"),
    "/pages/form.css": ("form.css", "text/css"),
    "/pages/form.js": ("form.js", "text/javascript"),
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


@cache
def _content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
