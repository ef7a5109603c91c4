"""Eight copies of one template at once: each is its own machine."""

from __future__ import annotations

import asyncio
import json
import time

from hostd.pool.marks import Marks
from hostd.pool.vm import PooledVm
from hostd.ports import VmRequest
from tests.e2e.vm.conftest import Layers, ready
from tests.fakes.work_server import WorkServer

CLONES = 8
FACTS = """#!/usr/bin/python3
import json, os, random, socket, time, uuid
facts = {
    "random": os.getrandom(16).hex(),
    "uuid": str(uuid.uuid4()),
    "generator": random.random(),
    "machine_id": open("/etc/machine-id").read().strip(),
    "hostname": socket.gethostname(),
    "boot_id_pool": open("/proc/sys/kernel/random/uuid").read().strip(),
    "time": time.time(),
    "disk": os.statvfs("/scratch").f_blocks * os.statvfs("/scratch").f_frsize,
}
print(json.dumps({"type": "log", "text": "FACTS " + json.dumps(facts)}), flush=True)
"""


async def facts_of(vm: PooledVm, number: int) -> tuple[dict[str, object], float]:
    """What a clone says about itself, and how far its clock is off."""
    async with WorkServer(vm, FACTS, f"clone-{number}") as server:
        await vm.start()
        server.ring()
        outcome = await asyncio.wait_for(server.outcome, 100)
        assert outcome["status"] == "succeeded", outcome
        (line,) = [line for line in server.log_lines() if line.startswith("FACTS ")]
        facts: dict[str, object] = json.loads(line.removeprefix("FACTS "))
        (event,) = [event for event in server.events if event.get("text") == line]
        return facts, abs(float(str(facts["time"])) - int(event["time_ns"]) / 1e9)


async def test_clones_are_unlike(layer: Layers) -> None:
    async with layer(marks=Marks(CLONES, CLONES, 0, 0), max_vms=CLONES) as host:
        await ready(host, count=CLONES)
        vms = [await host.acquire(VmRequest("default")) for _ in range(CLONES)]
        began = time.time()
        found = await asyncio.gather(*(facts_of(vm, number) for number, vm in enumerate(vms)))
        ended = time.time()
        facts = [fact for fact, _ in found]
        for name in ("random", "uuid", "generator", "machine_id", "hostname", "boot_id_pool"):
            assert len({str(fact[name]) for fact in facts}) == CLONES, name
        assert all(began - 1 < float(str(fact["time"])) < ended + 1 for fact in facts)
        assert all(int(str(fact["disk"])) > 3 << 30 for fact in facts)
        assert all(vm.sample().private_bytes < 400 << 20 for vm in vms)
