"""The table of all methods in docs/api.md, from their descriptors: `python -m controlplane.api.table` rewrites it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from google.api.annotations_pb2 import http
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from controlplane.api.methods import method_of, services
from swarm.options.v1.options_pb2 import policy

PAGE: Final = Path(__file__).parents[2] / "docs" / "api.md"
BEGIN, END = "<!-- methods -->\n", "<!-- end of methods -->\n"
HEAD: Final = "| method | route | role | tier | audit | room |\n|---|---|---|---|---|---|\n"


def written(page: str) -> str:
    """The page with the table as it should be."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{''.join(table())}{END}{rest.partition(END)[2]}"


def table() -> Iterator[str]:
    for service in services():
        if "hostlink" not in service.full_name:
            yield f"\n### {service.name}\n\n{HEAD}{''.join(rows(service))}"
    yield "\n"


def rows(service: ServiceDescriptor) -> Iterator[str]:
    for descriptor in service.methods:
        method = method_of(descriptor)
        role = method.role.name.lower() + (" of the deployment" if method.fleet else "")
        room = descriptor.GetOptions().Extensions[policy].room
        cells = (f"`{descriptor.name}`", f"`{route(descriptor)}`", role, method.tier, code(method.audit), code(room))
        yield f"| {' | '.join(cells)} |\n"


def route(descriptor: MethodDescriptor) -> str:
    """Verb and path."""
    rule = descriptor.GetOptions().Extensions[http]
    verb = rule.WhichOneof("pattern") or "get"
    path: str = getattr(rule, verb)
    return f"{verb.upper()} {path}"


def code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
