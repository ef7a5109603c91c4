"""hostd ends, cleanly or not, and comes back: nothing is forgotten and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from swarm.hostlink.v1 import hostlink_pb2 as pb
from tests.fakes.control_plane import ControlPlane, logs, outcome, until
from tests.integration.hostd.conftest import Hosts
from tests.integration.hostd.test_attempts import bundle

PATIENT = """#!/bin/sh
echo "started"
while [ ! -e "$SWARM_GO" ]; do sleep 0.1; done
echo "went on"
"""


def processes(marker: str) -> list[int]:
    """Pids of processes whose command line or working directory names `marker`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "cmdline").read_bytes().decode(errors="replace") + str((folder / "cwd").readlink())
        except OSError:
            continue
        if marker in text and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


async def test_a_result_survives_sigkill(control: ControlPlane, hosts: Hosts) -> None:
    process = hosts()
    await process.start(SWARM_FAILPOINT="attempt_after_finish=kill")
    host = await control.host()
    control.assign(host, "at_one", input={"sim": {"summary": "kept"}})
    assert await process.wait() == -signal.SIGKILL
    assert not host.of("finished")
    await process.start()
    again = await control.host(count=2)
    assert [ref.attempt_id for ref in again.hello.attempts] == ["at_one"], "not to be taken for lost"
    (finished,) = await control.finished(again)
    assert outcome(finished).summary == "kept"


@pytest.mark.parametrize("failpoint", ["attempt_after_acquire", "attempt_after_start", "attempt_before_finish"])
async def test_a_killed_host_daemon_reports_what_it_lost(control: ControlPlane, hosts: Hosts, failpoint: str) -> None:
    process = hosts()
    await process.start(SWARM_FAILPOINT=f"{failpoint}=kill")
    host = await control.host()
    control.assign(host, "at_one", input={"sim": {}})
    assert await process.wait() == -signal.SIGKILL
    await process.start()
    again = await control.host(count=2)
    assert not again.hello.attempts, "absent, so the control plane knows it lost"
    assert not list((process.state_dir / "vms").iterdir())
    assert not list((process.state_dir / "attempts").iterdir())
    control.assign(again, "at_two", fence=2, input={"sim": {}})
    await control.finished(again)


async def test_a_running_guest_is_adopted_after_sigkill(control: ControlPlane, hosts: Hosts, folder: Path) -> None:
    process = await hosts().start()
    host = await control.host()
    go = folder / "go"
    digest = control.bundle(bundle(PATIENT.replace("$SWARM_GO", str(go))))
    agent = {"name": "patient", "version": "1", "digest": digest, "command": ["./run"]}
    control.assign(host, "at_one", agent=agent)
    await until(lambda: host.of("running"), "the agent runs")
    await process.end(signal.SIGKILL)
    await process.start()
    again = await control.host(count=2)
    assert [ref.attempt_id for ref in again.hello.attempts] == ["at_one"]
    go.touch()
    (finished,) = await control.finished(again)
    assert (finished.cause, outcome(finished).status) == ("", "succeeded")


ASKING = """#!/bin/sh
echo '{"type": "question", "text": "which colour?"}'
read -r answer
echo "heard $answer"
echo '{"type": "question", "text": "and which size?"}'
read -r answer
echo "heard $answer"
"""


async def test_an_answer_survives_sigkill_and_counts_once(control: ControlPlane, hosts: Hosts) -> None:
    """hostd is killed when it has kept the answer but not told anybody, so the answer comes again."""
    process = hosts()
    await process.start(SWARM_FAILPOINT="attempt_after_answer=kill")
    host = await control.host()
    agent = {"name": "asking", "version": "1", "digest": control.bundle(bundle(ASKING)), "command": ["./run"]}
    ref = control.assign(host, "at_one", agent=agent)
    await until(lambda: b"which colour?" in b"".join(e.batch for e in host.of("attempt_events")), "it asks")
    first = pb.ControlEvent(answer=pb.Answer(attempt=ref, number=1, text="blue"))
    control.send(host, first)
    assert await process.wait() == -signal.SIGKILL
    assert not host.of("answered")
    await process.start()
    again = await control.host(count=2)
    control.send(again, first, first)
    await until(lambda: len(again.of("answered")) == 2, "it says that it keeps the answer")
    await until(lambda: b"which size?" in b"".join(e.batch for e in again.of("attempt_events")), "it asks again")
    control.send(again, pb.ControlEvent(answer=pb.Answer(attempt=ref, number=2, text="large")))
    (finished,) = await control.finished(again)
    assert outcome(finished).status == "succeeded"
    heard = [line for line in logs(again, "at_one") if line.startswith("heard")]
    assert [("blue" in line, "large" in line) for line in heard] == [(True, False), (False, True)]


async def test_sigterm_reports_and_leaves_nothing(control: ControlPlane, hosts: Hosts, folder: Path) -> None:
    process = await hosts().start()
    host = await control.host()
    digest = control.bundle(bundle(PATIENT.replace("$SWARM_GO", str(folder / "never"))))
    agent = {"name": "patient", "version": "1", "digest": digest, "command": ["./run"]}
    control.assign(host, "at_guest", agent=agent)
    control.assign(host, "at_script", input={"sim": {"hang": True}})
    await until(lambda: len(host.of("running")) == 2, "both run")
    assert await process.end(signal.SIGTERM) == 0
    assert {item.cause for item in host.of("finished")} == {"host_stopping"}
    assert not list((process.state_dir / "vms").iterdir())
    assert not list((process.state_dir / "attempts").iterdir())
    assert not processes(str(process.state_dir))


async def test_interrupted_while_it_starts_it_ends_cleanly(hosts: Hosts, control: ControlPlane) -> None:
    for number in range(3):
        process = await hosts(f"state{number}").start()
        await until((process.state_dir / "hostd.lock").exists, "it begins")
        await asyncio.sleep(0.05 * number)
        assert await process.end(signal.SIGINT) == 0
        assert not processes(str(process.state_dir))


async def test_vms_may_be_kept_for_the_next_start(control: ControlPlane, hosts: Hosts, folder: Path) -> None:
    process = await hosts("state", "--keep-vms").start()
    host = await control.host()
    digest = control.bundle(bundle(PATIENT.replace("$SWARM_GO", str(folder / "go"))))
    agent = {"name": "patient", "version": "1", "digest": digest, "command": ["./run"]}
    control.assign(host, "at_one", agent=agent)
    await until(lambda: host.of("running"), "the agent runs")
    assert await process.end() == 0
    assert not host.of("finished")
    await process.start()
    again = await control.host(count=2)
    (folder / "go").touch()
    (finished,) = await control.finished(again)
    assert finished.cause == ""


async def test_two_hosts_share_a_machine(control: ControlPlane, hosts: Hosts) -> None:
    await hosts("one", instance="one").start()
    first = await control.host()
    await hosts("two", instance="two").start()
    second = await control.host(count=2)
    assert [first.hello.name, second.hello.name] == ["one", "two"]
    control.assign(first, "at_one", input={"sim": {}})
    control.assign(second, "at_two", input={"sim": {}})
    assert [item.attempt.attempt_id for item in await control.finished(first)] == ["at_one"]
    assert [item.attempt.attempt_id for item in await control.finished(second)] == ["at_two"]


async def test_one_state_directory_has_one_owner(control: ControlPlane, hosts: Hosts) -> None:
    process = await hosts().start()
    await control.host()
    other = await hosts().start()
    assert await other.wait() == 5
    assert f"in use by hostd with pid {process.pid}" in other.words()


async def test_a_damaged_attempt_file_is_set_aside(control: ControlPlane, hosts: Hosts) -> None:
    process = hosts()
    (process.state_dir / "attempts").mkdir(parents=True)
    (process.state_dir / "attempts" / "at_x.json").write_text(json.dumps({"phase": "started"}), encoding="utf-8")
    await process.start()
    host = await control.host()
    assert not host.hello.attempts
    assert (process.state_dir / "attempts" / "at_x.damaged").exists()
