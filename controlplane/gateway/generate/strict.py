"""What holds for an API of ours: each public method has a route, and each method a policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from controlplane.gateway.generate.api import Api, Refusal
from controlplane.gateway.generate.bindings import unbound, where

POLICY: Final = "swarm.options.v1.policy"
_ROLE_HOST: Final = 7  # of swarm.options.v1.Role: hosts come by the host link, never over HTTP


def check(api: Api) -> None:
    """`Refusal` with every method that lacks one of them."""
    faults = list(_faults(api))
    if faults:
        raise Refusal(faults)


def _faults(api: Api) -> Iterator[str]:
    without_route = {method.full_name for method in unbound(api)}
    for method in api.methods:
        policy = api.option(method, POLICY)
        if policy is None:
            yield f"{where(method)}: there is no policy"
        elif method.full_name in without_route and policy.role != _ROLE_HOST:
            yield f"{where(method)}: there is no google.api.http rule"
