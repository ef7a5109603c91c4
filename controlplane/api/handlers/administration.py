"""What of AdminService is about the deployment, not about people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from controlplane.api.bindings import Action, Bindings, Command, Query
from controlplane.api.convert.administration import health_out, settings_out, usage_out
from controlplane.domain.call import Call
from controlplane.ports import Reader, Tx
from controlplane.usecases import settings as use
from controlplane.usecases.health import Probes, health
from controlplane.usecases.services import Services
from controlplane.usecases.settings import Settings
from controlplane.usecases.usage import usage
from swarm.admin.v1 import service_pb2 as pb

SERVICE = "swarm.admin.v1.AdminService"


def bindings(settings: Settings, refresh: Callable[[], Awaitable[None]], probes: Probes) -> Bindings:
    """`refresh` has changed settings count before they are answered."""

    def get_config(reader: Reader, _call: Call, _request: pb.GetConfigRequest) -> pb.GetConfigResponse:
        return pb.GetConfigResponse(settings=settings_out(use.effective(reader, settings)))

    def update_config(tx: Tx, call: Call, request: pb.UpdateConfigRequest) -> pb.UpdateConfigResponse:
        return pb.UpdateConfigResponse(settings=settings_out(use.change(tx, settings, call, dict(request.values))))

    async def get_health(services: Services, call: Call, _request: pb.GetHealthRequest) -> pb.GetHealthResponse:
        return health_out(await health(services.store, probes, call))

    return {
        f"{SERVICE}.GetConfig": Query(get_config),
        f"{SERVICE}.UpdateConfig": Command(update_config, after=refresh),
        f"{SERVICE}.GetUsage": Query(get_usage),
        f"{SERVICE}.GetHealth": Action(get_health, ongoing=True),
    }


def get_usage(reader: Reader, call: Call, request: pb.GetUsageRequest) -> pb.GetUsageResponse:
    return usage_out(usage(reader, call, request.tenant_id, request.first_day, request.last_day))
