"""All files that are generated for an API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.gateway.generate import strict
from controlplane.gateway.generate.api import Api
from controlplane.gateway.generate.bindings import bindings, unbound
from controlplane.gateway.generate.codecs import codecs_module
from controlplane.gateway.generate.fields import fields_module
from controlplane.gateway.generate.messages import from_descriptors, from_modules
from controlplane.gateway.generate.openapi import openapi
from controlplane.gateway.generate.routes import routes_module
from controlplane.gateway.generate.typescript import typescript


@dataclass(frozen=True, slots=True)
class Options:
    """`modules`: use protoc's modules instead of descriptors of our own.

    `shallow_masks`: a derived mask names fields of the body only, not what is inside of them.
    """

    strict: bool = False
    modules: bool = False
    shallow_masks: bool = False
    title: str = "API"


def generated(api: Api, options: Options) -> Mapping[str, str]:
    """Content by path within the output package; `Refusal` when the API breaks a rule."""
    if options.strict:
        strict.check(api)
    found = bindings(api)
    files = {
        "__init__.py": '"""Generated from protos; do not edit."""\n',
        "messages.py": from_modules(api) if options.modules else from_descriptors(api),
        "fields.py": fields_module(found),
        "codecs.py": codecs_module(api),
        "routes.py": routes_module(found, deep_masks=not options.shallow_masks),
    }
    files["openapi.json"] = openapi(api, found, options.title)
    files["types.ts"] = typescript(api, found)
    return files


def left_out(api: Api, options: Options) -> list[str]:
    """A line for each method without a route, but for those that are meant to have none: `strict` lets no other be."""
    if options.strict:
        return []
    return [f"{method.full_name} has no google.api.http rule and is left out" for method in unbound(api)]
