"""The API browser at /docs, and the document that it shows at /openapi.json. All files are ours to serve: no CDN."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from aiohttp import web
from swagger_ui_bundle import swagger_ui_path

from controlplane.errors import NotFound
from controlplane.gateway.answers import tagged_answer
from controlplane.gateway.faults import expect_get

KINDS: Final = {".css": "text/css", ".js": "text/javascript", ".png": "image/png", ".html": "text/html"}
FILES: Final = (
    "index.css",
    "swagger-ui.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "favicon-32x32.png",
)
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Swarm API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="stylesheet" href="/docs/index.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/swagger-ui-standalone-preset.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START: Final = b"""window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  filter: true,
  validatorUrl: null,
  persistAuthorization: false,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
  layout: "BaseLayout",
});
"""


class Docs:
    """`openapi` reads the whole document."""

    def __init__(self, openapi: Callable[[], bytes]) -> None:
        self._openapi = openapi

    async def page(self, request: web.BaseRequest) -> web.Response:
        """Everything below /docs."""
        expect_get(request)
        name = request.path.removeprefix("/docs").strip("/")
        if name not in {"", "start.js", *FILES}:
            raise NotFound("there is nothing here")
        content = await asyncio.to_thread(_content, name)
        answer = await tagged_answer(request, content, KINDS[Path(name).suffix or ".html"])
        answer.headers["Content-Security-Policy"] = POLICY
        return answer

    async def document(self, request: web.BaseRequest) -> web.Response:
        expect_get(request)
        return await tagged_answer(request, await asyncio.to_thread(self._openapi), "application/json")


@cache
def _content(name: str) -> bytes:
    own = {"": PAGE, "start.js": START}
    return own[name] if name in own else (Path(swagger_ui_path) / name).read_bytes()
