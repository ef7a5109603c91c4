"""Attempts through a whole hostd: link, runner, broker process and a simulated VM."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from swarm.guest.v1 import guest_pb2
from swarm.hostlink.v1 import hostlink_pb2 as pb
from tests.fakes.control_plane import ControlPlane, Host, logs, outcome, until
from tests.integration.hostd.conftest import Hosts

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
AGENT = """#!/bin/sh
echo "from the agent"
echo changed > change.txt
"""


def bundle(script: str) -> bytes:
    """A tar of an agent folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text, mode in (("agent.json", "{}", 0o644), ("run", script, 0o755)):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), mode
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def git(*args: str, cwd: Path) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *args]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def upstream(folder: Path) -> Path:
    """A bare repository with one commit on main."""
    work, bare = folder / "work", folder / "upstream.git"
    work.mkdir()
    git("init", "--quiet", "--initial-branch=main", ".", cwd=work)
    (work / "README").write_text("hello\n", encoding="utf-8")
    git("add", ".", cwd=work)
    git("commit", "--quiet", "--message", "first", cwd=work)
    git("clone", "--quiet", "--bare", str(work), str(bare), cwd=folder)
    return bare


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


@pytest.mark.parametrize(("given", "shown"), [(TRACEPARENT, TRACEPARENT), ("00-nothing", "")])
async def test_an_agent_knows_the_trace_of_the_call_that_filed_its_ticket(
    control: ControlPlane, hosts: Hosts, given: str, shown: str
) -> None:
    await hosts().start()
    host = await control.host()
    digest = control.bundle(bundle('#!/bin/sh\necho "trace [$TRACEPARENT]"\n'))
    control.assign(host, "at_traced", agent={"name": "a", "digest": digest, "command": ["./run"]}, traceparent=given)
    await control.finished(host)
    assert f"trace [{shown}]" in logs(host, "at_traced")


async def test_the_guest_runtime_pushes_a_branch(control: ControlPlane, hosts: Hosts, upstream: Path) -> None:
    await hosts().start()
    host = await control.host()
    digest = control.bundle(bundle(AGENT))
    control.assign(
        host,
        "at_git",
        agent={"name": "change", "version": "1", "digest": digest, "command": ["./run"]},
        repository={
            "url": str(upstream),
            "default_branch": "main",
            "push_ref": "refs/heads/swarm/TKT-001/a1",
        },
        test_command="test -f change.txt",
    )
    (finished,) = await control.finished(host)
    assert outcome(finished).status == "succeeded", outcome(finished)
    assert finished.head == git("rev-parse", "swarm/TKT-001/a1", cwd=upstream)
    assert finished.base == git("rev-parse", "main", cwd=upstream)
    assert git("show", "swarm/TKT-001/a1:change.txt", cwd=upstream) == "changed"
    assert "from the agent" in logs(host, "at_git")


CURIOUS = """#!/bin/sh
echo '{"type": "question", "text": "which colour?"}'
read -r answer
echo "heard $answer"
"""


async def test_an_answer_reaches_the_agent_that_asked(control: ControlPlane, hosts: Hosts) -> None:
    await hosts().start()
    host = await control.host()
    agent = {"name": "a", "version": "1", "digest": control.bundle(bundle(CURIOUS)), "command": ["./run"]}
    ref = control.assign(host, "at_ask", agent=agent)
    await until(lambda: b"which colour?" in b"".join(e.batch for e in host.of("attempt_events")), "it asks")
    control.send(host, pb.ControlEvent(answer=pb.Answer(attempt=ref, number=1, text="blue")))
    (finished,) = await control.finished(host)
    assert outcome(finished).status == "succeeded"
    assert any("heard" in line and "blue" in line for line in logs(host, "at_ask"))


async def test_a_branch_that_the_upstream_refuses_is_no_fault_of_the_network(
    control: ControlPlane, hosts: Hosts, upstream: Path
) -> None:
    await hosts().start()
    host = await control.host()
    git("update-ref", "refs/heads/swarm/TKT-001/a1/in-the-way", "main", cwd=upstream)
    agent = {"name": "a", "version": "1", "digest": control.bundle(bundle(AGENT)), "command": ["./run"]}
    repository = {"url": str(upstream), "default_branch": "main", "push_ref": "refs/heads/swarm/TKT-001/a1"}
    control.assign(host, "at_push", agent=agent, repository=repository)
    (finished,) = await control.finished(host)
    assert (finished.cause, finished.head) == ("push_failed", "")
    assert outcome(finished).status == "failed"
    assert outcome(finished).phase == "push"


@pytest.mark.parametrize(
    ("script", "options", "cause"),
    [
        ({"die": True}, (), "vm_lost"),
        ({"hang": True}, ("--max-attempt-s", "0.5"), "timeout"),
        ({"hang": True}, ("--stall-after-s", "0.5"), "stalled"),
        ({}, ("--sim-boot-failure-rate", "1"), "vm_lost"),
    ],
)
async def test_failures_name_their_cause(
    control: ControlPlane, hosts: Hosts, script: dict[str, bool], options: tuple[str, ...], cause: str
) -> None:
    await hosts("state", *options).start()
    host = await control.host()
    control.assign(host, "at_bad", input={"sim": script})
    (finished,) = await control.finished(host)
    assert (finished.cause, finished.outcome) == (cause, b"")
    assert finished.reason


GIVING_UP = """#!/bin/sh
echo '{"type": "give_up", "text": "no such module", "data": {"cause": "%s"}}'
exit %d
"""


ENDINGS = {
    "at_up": (GIVING_UP % ("", 0), "agent_gave_up", "no such module"),
    "at_input": (GIVING_UP % ("bad_ticket", 3), "bad_ticket", "no such module"),
    "at_poor": (GIVING_UP % ("budget", 1), "budget", "no such module"),
    "at_liar": (GIVING_UP % ("host_lost", 1), "agent_gave_up", "no such module"),
    "at_killed": ("#!/bin/sh\nkill -9 $$\n", "", "status 137"),
}


async def test_an_agent_says_that_it_gives_up_or_just_fails(control: ControlPlane, hosts: Hosts) -> None:
    await hosts().start()
    host = await control.host()
    for ident, (script, _, _) in ENDINGS.items():
        agent = {"name": ident, "version": "1", "digest": control.bundle(bundle(script)), "command": ["./run"]}
        control.assign(host, ident, agent=agent)
    finished = {item.attempt.attempt_id: item for item in await control.finished(host, len(ENDINGS))}
    for ident, (_, cause, words) in ENDINGS.items():
        said = outcome(finished[ident])
        assert (finished[ident].cause, said.status, said.phase, said.cause) == ("", "failed", "agent", cause)
        assert words in said.summary


REPEATING = """#!/bin/sh
while :; do echo "waiting for the lock"; sleep 0.05; done
"""
COUNTING = """#!/bin/sh
for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do echo "file $n"; sleep 0.3; done
"""


async def test_repeated_lines_are_no_progress_new_ones_and_a_question_are(control: ControlPlane, hosts: Hosts) -> None:
    """The first attempt talks without saying anything; the others take longer than the limit and may."""
    await hosts("state", "--stall-after-s", "60").start()
    host = await control.host()
    refs: dict[str, pb.AttemptRef] = {}
    for ident, script in (("at_same", REPEATING), ("at_new", COUNTING), ("at_ask", CURIOUS)):
        agent = {"name": ident, "version": "1", "digest": control.bundle(bundle(script)), "command": ["./run"]}
        refs[ident] = control.assign(host, ident, agent=agent, stall_after_s=1 if ident == "at_same" else 4)
    ended = {item.attempt.attempt_id: item.cause for item in await control.finished(host, 2)}
    assert ended == {"at_same": "stalled", "at_new": ""}
    control.send(host, pb.ControlEvent(answer=pb.Answer(attempt=refs["at_ask"], number=1, text="blue")))
    finished = await control.finished(host, 3)
    assert outcome(finished[-1]).status == "succeeded"


async def test_bad_assignments_fail_alone(control: ControlPlane, hosts: Hosts) -> None:
    await hosts().start()
    host = await control.host()
    agent = {"name": "a", "version": "1", "command": ["./run"]}
    repository = {"default_branch": "main", "push_ref": "refs/heads/x"}
    control.assign(host, "at_bundle", agent={**agent, "digest": "0" * 64})
    control.assign(host, "at_url", repository={**repository, "url": "ext::sh -c true"})
    control.assign(host, "at_gone", repository={**repository, "url": "/nonexistent/repository"})
    control.assign(host, "at_image", resources={"image": "nowhere"})
    control.assign(host, "at_good", input={"sim": {}})
    found = {item.attempt.attempt_id: item.cause for item in await control.finished(host, 5)}
    assert found == {
        "at_bundle": "bundle_failed",
        "at_url": "bad_ticket",
        "at_gone": "bad_ticket",
        "at_image": "template_failed",
        "at_good": "",
    }


async def test_what_is_over_the_cap_waits_for_the_end_of_a_vm(control: ControlPlane, hosts: Hosts) -> None:
    await hosts("state", "--max-vms", "2").start()
    host = await control.host()
    for number in range(3):
        control.assign(host, f"at_{number}", input={"sim": {"run_for_ms": 500}})
    finished = await control.finished(host, 3)
    assert [item.cause for item in finished] == ["", "", ""]
    assert finished[-1].attempt.attempt_id == "at_2"
    most = max(sum(not vm.HasField("stopped_at") for vm in report.vms) for report in host.of("vm_report"))
    assert most <= 2


async def test_a_revoked_attempt_ends_without_a_report(control: ControlPlane, hosts: Hosts) -> None:
    process = await hosts().start()
    host = await control.host()
    ref = control.assign(host, "at_gone", input={"sim": {"hang": True}})
    await until(lambda: host.of("running"), "the attempt runs")
    other = pb.AttemptRef(attempt_id=ref.attempt_id, ticket_id=ref.ticket_id, fence=ref.fence + 1)
    control.send(host, pb.ControlEvent(revoke=pb.Revoke(attempt=other, reason="not this one")))
    control.assign(host, "at_next", input={"sim": {}})
    await control.finished(host)
    await until(lambda: live(host) == {"at_gone"}, "only the other one goes on")
    control.send(host, pb.ControlEvent(revoke=pb.Revoke(attempt=ref, reason="cancelled")))
    await until(lambda: not live(host), "the VM stops")
    await until(lambda: host.of("stopped"), "it says so")
    control.send(host, pb.ControlEvent(revoke=pb.Revoke(attempt=ref, reason="cancelled")))
    await until(lambda: len(host.of("stopped")) == 2, "it says so again")
    assert {item.attempt.attempt_id for item in host.of("stopped")} == {"at_gone"}
    assert [item.attempt.attempt_id for item in host.of("finished")] == ["at_next"]
    await until(lambda: not list((process.state_dir / "attempts").iterdir()), "nothing is kept of it")


def live(host: Host) -> set[str]:
    """Attempts whose VM has not stopped, by the newest report."""
    reports = host.of("vm_report")
    return {vm.attempt_id for vm in reports[-1].vms if not vm.HasField("stopped_at")} if reports else set()


async def test_each_step_of_a_workflow_has_its_own_bundle(control: ControlPlane, hosts: Hosts) -> None:
    await hosts().start()
    host = await control.host()
    scripts = {"one": "#!/bin/sh\necho first\n", "two": "#!/bin/sh\necho second\n", "three": "#!/bin/sh\necho first\n"}
    steps = [
        {"name": name, "agent": {"name": name, "digest": control.bundle(bundle(script)), "command": ["./run"]}}
        for name, script in scripts.items()
    ]
    control.assign(host, "at_flow", workflow="flow@1.0.0", steps=steps)
    (finished,) = await control.finished(host)
    assert (outcome(finished).status, outcome(finished).summary) == ("succeeded", "first")
    assert logs(host, "at_flow") == ["first", "second", "first"]


async def test_a_workflow_that_is_played_in_process_reports_its_steps(control: ControlPlane, hosts: Hosts) -> None:
    await hosts("state", "--sim-instant").start()
    host = await control.host()
    control.assign(host, "at_flow", workflow="flow@1.0.0", steps=[{"name": "one"}, {"name": "two"}])
    await control.finished(host)
    batches = [guest_pb2.EventBatch.FromString(each.batch) for each in host.of("attempt_events")]
    told = [(each.text, each.data["state"]) for batch in batches for each in batch.events if each.type == "step"]
    assert told == [(name, state) for name in ("one", "two") for state in ("running", "succeeded")]
