"""All that the one HTTP listener serves, put together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from controlplane.api.pipeline import Authenticate, Dispatcher
from controlplane.config import Config, is_loopback
from controlplane.gateway import table
from controlplane.gateway.admission import Admission, Tickets
from controlplane.gateway.bidi import Bidi
from controlplane.gateway.docs import Docs
from controlplane.gateway.front import Front, Handler
from controlplane.gateway.headers import Origins
from controlplane.gateway.hub import Hub
from controlplane.gateway.listener import Address, HttpListener
from controlplane.gateway.pages import or_page, page
from controlplane.gateway.probes import Check, Metrics, Readiness, healthz
from controlplane.gateway.rest import Rest
from controlplane.gateway.rooms import Directory
from controlplane.gateway.ws import Sockets
from controlplane.usecases.services import Services

URL_FILE: Final = "http.url"


class Http:
    """Known by its `url` once it was started. Handlers of other parts are added by the first segment of their path."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._listener = HttpListener(http_address(config))
        self._sockets: Sockets | None = None
        self._dispatcher: Dispatcher | None = None

    @property
    def url(self) -> str:
        """Where others reach it, without a slash at its end."""
        return self._config.http_url or self._listener.url

    async def start(
        self,
        dispatcher: Dispatcher,
        services: Services,
        authenticate: Authenticate,
        *,
        checks: Mapping[str, Check],
        others: Mapping[str, Handler],
        tickets: Tickets | None = None,
    ) -> None:
        """`StartError` when it cannot listen."""
        config, origins = self._config, Origins(self._config.cors_origins)
        admission = Admission(authenticate, tickets, failed=dispatcher.refused)
        bidi = Bidi(dispatcher, admission, origins, table.decode, table.encode)
        rest = Rest(dispatcher, table.ROUTER, bidi, body_bytes=config.http_body_mib << 20)
        store, fleet = services.store, services.fleet
        directory, hub = Directory(fleet.connected, store.now), Hub(store, services.bus)
        sockets = Sockets(store, hub, directory, admission, enter=dispatcher.enter, origins=origins)
        docs = Docs(table.openapi)
        handlers: dict[str, Handler] = {
            "api": or_page(rest.handle),
            "ws": sockets.handle,
            "docs": docs.page,
            **dict.fromkeys(("setup", "reset-password", "pages"), page),
            "openapi.json": docs.document,
            "healthz": healthz,
            "readyz": Readiness(checks).handle,
            "metrics": Metrics(admission, enabled=config.http_metrics).handle,
            **others,
        }
        self._dispatcher, self._sockets = dispatcher, sockets
        await sockets.start()
        await self._listener.start(Front(handlers, origins).handle)
        url_file(config.state_dir).write_text(f"{self.url}\n")

    async def stop(self) -> None:
        """Ends streams and sockets with a last word, and lets the requests that are answered finish."""
        url_file(self._config.state_dir).unlink(missing_ok=True)
        self._listener.close()
        if self._dispatcher is not None and self._sockets is not None:
            await self._dispatcher.close()
            await self._sockets.stop()
        await self._listener.stop()


def http_address(config: Config) -> Address:
    host, _, port = config.http.rpartition(":")
    pem = (None, None) if is_loopback(config.http) else (config.tls_certificate, config.tls_key)
    return Address(host, int(port), config.state_dir / "http.port", *pem)


def url_file(state_dir: Path) -> Path:
    """Tells programs on this machine where it is."""
    return state_dir / URL_FILE
