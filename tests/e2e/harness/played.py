"""Tickets that a host with simulated VMs plays in process: cheap, for load. They die with the process."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

from google.protobuf.json_format import ParseDict

from swarm_sdk.client import Client
from swarm_sdk.types import Agent, TicketSpec

AGENT = "played"
FILES = {
    "agent.json": json.dumps(
        {
            "name": AGENT,
            "version": "1.0.0",
            "description": "Played by the host, as its input's script says.",
            "image": "default",
            "command": ["./run"],
            "input_schema": {"type": "object"},
        }
    ),
    "run": "#!/bin/sh\n",
}


async def publish(client: Client) -> Agent:
    """Register the agent that such tickets name."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        for name, text in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
    return await client.registry.publish(held.getvalue())


def ticket(title: str, *, isolation: str = "ISOLATION_CLASS_SIM", **script: Any) -> TicketSpec:
    """`script`: see `hostd.drivers.sim.script.Script`."""
    spec = {"title": title, "agent": AGENT, "input": {"sim": script}, "resources": {"isolation": isolation}}
    return ParseDict(spec, TicketSpec())
