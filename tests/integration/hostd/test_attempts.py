"""Attempts through a whole hostd: link, runner, broker process and a simulated VM."""

from __future__ import annotations

from tests.fakes.control_plane import ControlPlane, logs, outcome
from tests.integration.hostd.conftest import Hosts


async def test_an_attempt_runs_to_its_outcome(control: ControlPlane, hosts: Hosts) -> None:
    await hosts().start()
    host = await control.host()
    control.assign(host, "at_one", input={"sim": {"logs": 3, "summary": "done"}})
    (finished,) = await control.finished(host)
    assert (outcome(finished).status, outcome(finished).summary, finished.cause) == ("succeeded", "done", "")
    assert logs(host, "at_one") == ["line 1 of 3", "line 2 of 3", "line 3 of 3"]
    (started,), (running,) = host.of("started"), host.of("running")
    assert started.vm_id.startswith("vm_")
    assert running.boot.agent_us > 0
    assert running.boot.ready_us >= running.boot.boot_us > 0
