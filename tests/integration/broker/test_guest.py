"""The guest runtime as a plain process against a real broker and a real upstream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from controlplane.domain import bundle
from hostd.ports import Dependency
from tests.fakes.brokerage import Brokerage, Guest, git

ROOT = Path(__file__).resolve().parents[3]
AGENTS = ROOT / "controlplane" / "agents"


class Machine:
    """A guest runtime and the doorbell that wakes it."""

    def __init__(self, house: Brokerage, name: str) -> None:
        self.house = house
        self.attempt_id = name
        self.root = house.root / f"vm-{name}"
        self.listener = socket.create_server(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.bell = probe.getsockname()
        self.doorbell = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.doorbell.connect(self.bell)
        self.guest: Guest | None = None
        self.bundles: list[Path] = []

    async def run(
        self,
        agent: Path,
        wanted: Mapping[str, Any],
        *,
        upstream: Path | None = None,
        dependencies: Sequence[Dependency] = (),
        **work: Any,
    ) -> asyncio.subprocess.Process:
        """Attach, start the runtime, ring."""
        packed = self.pack(agent)
        fields = {
            "ticket_key": "TKT-001",
            "title": "Say hello",
            "fence": "1",
            "agent": {"name": "a", "digest": packed.stem, "command": ["./run"]},
            "input": dict(wanted),
            "timeout_s": 30,
            **work,
        }
        self.guest = await self.house.attach(
            self.attempt_id,
            upstream=upstream,
            dependencies=dependencies,
            work=fields,
            bundles={path.stem: path for path in self.bundles},
            doorbell=self.doorbell.fileno(),
        )
        self.root.mkdir()
        env = {
            "PATH": os.environ["PATH"],
            "SWARM_PLAIN": "1",
            "SWARM_ROOT": str(self.root),
            "SWARM_BROKER": f"127.0.0.1:{self.guest.port}",
            "SWARM_BELL": f"127.0.0.1:{self.bell[1]}",
        }
        program = ROOT / "hostd" / "guest" / "__main__.py"
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-u", str(program), env=env, stdout=asyncio.subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert await self.process.stdout.readline() == b"SWARM READY\n"
        await self.house.broker.ring(self.attempt_id)
        return self.process

    def pack(self, agent: Path) -> Path:
        """A bundle that the attempt may read, named by its digest."""
        data = bundle.pack(agent)
        packed = self.house.root / f"{bundle.digest(data)}.tar"
        packed.write_bytes(data)
        packed.chmod(0o600)
        self.bundles.append(packed)
        return packed

    async def outcome(self, timeout_s: float = 30) -> Any:
        """The outcome, its success and head as hostd got them."""
        records = self.house.records
        await records.until(lambda: any(each[0] == self.attempt_id for each in records.outcomes), timeout_s)
        return next(each for each in records.outcomes if each[0] == self.attempt_id)[1:]

    def close(self) -> None:
        self.doorbell.close()
        self.listener.close()


@pytest.fixture
async def machine(house: Brokerage) -> AsyncIterator[Machine]:
    machine = Machine(house, "at_vm")
    yield machine
    machine.close()
    process = getattr(machine, "process", None)
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


def agent(folder: Path, script: str) -> Path:
    """An agent whose program is `script`."""
    folder.mkdir()
    (folder / "agent.json").write_text('{"name": "custom", "version": "1.0.0", "command": ["./run"]}')
    (folder / "run").write_text(script)
    (folder / "run").chmod(0o755)
    return folder


async def test_echo_makes_a_branch(house: Brokerage, machine: Machine) -> None:
    await machine.run(AGENTS / "echo", {"message": "hi there"}, upstream=house.upstream)
    outcome, succeeded, head = await machine.outcome()
    assert succeeded, outcome
    assert machine.guest is not None
    assert git(house.upstream, "rev-parse", machine.guest.push_ref).stdout.strip() == head == outcome.head
    assert git(house.upstream, "show", f"{head}:swarm/TKT-001.md").stdout == "hi there\n"
    assert git(house.upstream, "log", "-1", "--format=%an <%ae> %s", head).stdout.strip() == (
        "Swarm <swarm@localhost> TKT-001: Say hello"
    )
    assert "hi there" in house.records.texts("at_vm", "log")
    assert house.records.texts("at_vm", "phase") == ["prepare", "agent", "push"]
    assert "at_vm" in house.records.first_bytes
    assert house.records.started == ["at_vm"]


async def test_the_first_commit_of_an_empty_repository(house: Brokerage, machine: Machine) -> None:
    git(house.root, "init", "-q", "--bare", "-b", "main", "empty")
    await machine.run(AGENTS / "echo", {"file": "README.md"}, upstream=house.root / "empty")
    outcome, succeeded, head = await machine.outcome()
    assert succeeded, outcome
    assert git(house.root / "empty", "show", f"{head}:README.md").stdout == "Say hello\n"


async def test_nothing_to_change_pushes_nothing(house: Brokerage, machine: Machine) -> None:
    await machine.run(AGENTS / "shell", {"script": "true"}, upstream=house.upstream, test_command="test -f README.md")
    outcome, succeeded, head = await machine.outcome()
    assert succeeded, outcome
    assert (head, house.records.pushes) == ("", [])


async def test_failed_tests_fail_the_attempt_with_their_log(house: Brokerage, machine: Machine) -> None:
    await machine.run(
        AGENTS / "shell", {"script": "echo x > y"}, upstream=house.upstream, test_command="echo broken; exit 3"
    )
    outcome, succeeded, _ = await machine.outcome()
    assert not succeeded
    assert (outcome.phase, outcome.exit_code) == ("tests", 3)
    assert "broken" in outcome.summary
    assert "broken" in house.records.texts("at_vm", "log")
    assert house.records.pushes == []


async def test_a_failed_agent_names_its_last_words(house: Brokerage, machine: Machine) -> None:
    await machine.run(AGENTS / "shell", {"script": "echo doomed >&2; exit 7"}, upstream=house.upstream)
    outcome, succeeded, _ = await machine.outcome()
    assert not succeeded
    assert (outcome.phase, outcome.exit_code) == ("agent", 7)
    assert "doomed" in outcome.summary


async def test_an_agent_that_takes_too_long_is_ended(house: Brokerage, machine: Machine) -> None:
    await machine.run(AGENTS / "shell", {"script": "sleep 60 & sleep 60"}, timeout_s=1)
    outcome, succeeded, _ = await machine.outcome()
    assert not succeeded
    assert outcome.phase == "agent"
    assert "time" in outcome.summary


async def test_a_question_waits_for_its_answer(house: Brokerage, machine: Machine) -> None:
    script = """#!/usr/bin/env python3
import json, sys
for number in (1, 2):
    print(json.dumps({"type": "question", "text": f"colour {number}?"}), flush=True)
    print("got " + json.loads(sys.stdin.readline())["text"], flush=True)
"""
    await machine.run(agent(house.root / "asker", script), {})
    records = house.records
    for number, colour in ((1, "red"), (2, "blue")):
        await records.until(lambda n=number: f"colour {n}?" in records.texts("at_vm", "question"))
        await house.broker.answer("at_vm", number, colour)
    outcome, succeeded, _ = await machine.outcome()
    assert succeeded, outcome
    assert [text for text in records.texts("at_vm", "log") if text.startswith("got")] == ["got red", "got blue"]


async def test_a_guest_at_work_answers_each_ping_once(house: Brokerage, machine: Machine) -> None:
    await machine.run(AGENTS / "shell", {"script": "echo begun; sleep 30"})
    records, broker = house.records, house.broker
    await records.until(lambda: "begun" in records.texts("at_vm", "log"))
    assert records.signs == []  # nobody asked
    for count in (1, 2):
        await broker.ask("at_vm")
        await records.until(lambda n=count: len(records.signs) == n)
    assert records.signs[0][1] < records.signs[1][1]
    machine.process.send_signal(signal.SIGSTOP)
    await broker.ask("at_vm")
    await broker.ask("at_nobody")
    machine.process.send_signal(signal.SIGCONT)
    await records.until(lambda: len(records.signs) == 3)


async def test_a_broker_that_dies_midway_is_not_noticed(house: Brokerage, machine: Machine) -> None:
    script = "for i in $(seq 40); do echo line $i; sleep 0.05; done; echo done > f"
    await machine.run(AGENTS / "shell", {"script": script}, upstream=house.upstream)
    records = house.records
    await records.until(lambda: "line 5" in records.texts("at_vm", "log"))
    old = house.broker.pid
    os.kill(old, signal.SIGKILL)
    outcome, succeeded, head = await machine.outcome()
    assert succeeded, outcome
    assert head
    assert house.broker.pid not in (0, old)
    logs = records.texts("at_vm", "log")
    assert [text for text in dict.fromkeys(logs) if text.startswith("line")] == [f"line {n}" for n in range(1, 41)]


async def test_a_burst_of_logs_is_slowed_down_and_arrives_whole(house: Brokerage, machine: Machine) -> None:
    await machine.run(AGENTS / "shell", {"script": "seq 12000"})
    outcome, succeeded, _ = await machine.outcome(60)
    assert succeeded, outcome
    events = [event for _, batch, _ in house.records.batches for event in batch.events]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.text for event in events if event.type == "log"] == [str(n) for n in range(1, 12001)]


def conflicting(house: Brokerage) -> list[Dependency]:
    """Two branches that change the same file, as heads of dependencies."""
    heads = []
    for name in ("left", "right"):
        git(house.upstream, "checkout", "-q", "-b", name, "main")
        (house.upstream / "README.md").write_text(f"{name}\n")
        git(house.upstream, "commit", "-q", "-a", "-m", name)
        heads.append(Dependency(name, f"refs/heads/{name}", git(house.upstream, "rev-parse", "HEAD").stdout.strip()))
    git(house.upstream, "checkout", "-q", "main")
    return heads


async def test_a_conflict_of_dependencies_is_the_first_task(house: Brokerage, machine: Machine) -> None:
    heads = conflicting(house)
    script = "grep -q '<<<<<<<' README.md; printf 'both\\n' > README.md"
    await machine.run(AGENTS / "shell", {"script": script}, upstream=house.upstream, dependencies=heads)
    outcome, succeeded, head = await machine.outcome()
    assert succeeded, outcome
    assert git(house.upstream, "show", f"{head}:README.md").stdout == "both\n"
    parents = git(house.upstream, "log", "-1", "--format=%P", head).stdout.split()
    assert parents == [each.head for each in heads]


async def test_an_unsettled_conflict_fails(house: Brokerage, machine: Machine) -> None:
    heads = conflicting(house)
    await machine.run(AGENTS / "shell", {"script": "true"}, upstream=house.upstream, dependencies=heads)
    outcome, succeeded, _ = await machine.outcome()
    assert not succeeded
    assert "README.md" in outcome.summary


def step(machine: Machine, name: str, script: str, *needs: str) -> dict[str, Any]:
    """A step of a workflow: a script for the shell agent."""
    reference = {"name": "shell", "digest": machine.pack(AGENTS / "shell").stem, "command": ["./run"]}
    return {"name": name, "agent": reference, "needs": list(needs), "input": {"script": script}}


def told(house: Brokerage) -> list[tuple[str, str, int]]:
    """(step, state, exit code) in the order in which the guest said so."""
    events = [event for _, batch, _ in house.records.batches for event in batch.events if event.type == "step"]
    said = [(each.text, dict(MessageToDict(each.data))) for each in events]
    return [(name, str(data["state"]), int(data.get("exit_code", 0))) for name, data in said]


async def test_steps_share_a_checkout_and_see_what_they_need(house: Brokerage, machine: Machine) -> None:
    put_out = """echo '{"type": "output", "data": {"colour": "red", "n": 1}}'"""
    steps = [
        step(machine, "one", f"{put_out}; echo changed > a.txt; echo first words"),
        step(machine, "two", "test -s a.txt; cat $SWARM_STEPS", "one"),
        step(machine, "three", "cat $SWARM_STEPS > seen.json; echo $SWARM_STEP ends", "two"),
    ]
    await machine.run(AGENTS / "echo", {}, upstream=house.upstream, steps=steps, test_command="test -s seen.json")
    outcome, succeeded, head = await machine.outcome()
    assert succeeded, outcome
    assert outcome.summary == "three ends"
    assert told(house) == [(name, state, 0) for name in ("one", "two", "three") for state in ("running", "succeeded")]
    seen = {"one": {"status": "succeeded", "summary": "first words", "outputs": {"colour": "red", "n": 1}}}
    logs = house.records.texts("at_vm", "log")
    assert seen in [json.loads(line) for line in logs if line.startswith("{")]
    assert set(json.loads(git(house.upstream, "show", f"{head}:seen.json").stdout)) == {"two"}
    assert house.records.texts("at_vm", "phase") == ["prepare", "agent", "tests", "push"]


async def test_a_failed_step_is_named_and_ends_the_attempt(house: Brokerage, machine: Machine) -> None:
    steps = [
        step(machine, "good", "true"),
        step(machine, "bad", "echo oh no; exit 3"),
        step(machine, "late", "touch x"),
    ]
    await machine.run(AGENTS / "echo", {}, upstream=house.upstream, steps=steps)
    outcome, succeeded, _ = await machine.outcome()
    assert not succeeded
    assert (outcome.phase, outcome.exit_code) == ("agent", 3)
    assert outcome.summary == "step bad: the agent ended with status 3: oh no"
    assert told(house)[2:] == [("bad", "running", 0), ("bad", "failed", 3), ("late", "skipped", 0)]
    assert house.records.pushes == []


async def test_outputs_that_cannot_be_sent_are_left_out_and_the_step_goes_on(
    house: Brokerage, machine: Machine
) -> None:
    lines = ['{"type": "output", "data": {"x": 1e999}}', '{"type": "output", "data": {"x": "\\ud800"}}']
    lines += ['{"type": "output", "data": {"kept": true}}', json.dumps({"type": "output", "data": {"x": "y" * 9000}})]
    script = "\n".join(f"cat <<'END'\n{line}\nEND" for line in lines)
    await machine.run(AGENTS / "echo", {}, steps=[step(machine, "one", script)])
    outcome, succeeded, _ = await machine.outcome()
    assert succeeded, outcome
    outputs = [event.data for _, batch, _ in house.records.batches for event in batch.events if event.type == "output"]
    assert [dict(each) for each in outputs] == [{"kept": True}]
    assert told(house) == [("one", "running", 0), ("one", "succeeded", 0)]


async def test_questions_are_counted_over_all_steps(house: Brokerage, machine: Machine) -> None:
    ask = """echo '{"type": "question", "text": "which?"}'; read -r answer; echo "got $answer" """
    await machine.run(AGENTS / "echo", {}, steps=[step(machine, "one", ask), step(machine, "two", ask)])
    records = house.records
    for number, colour in ((1, "red"), (2, "blue")):
        await records.until(lambda n=number: len(records.texts("at_vm", "question")) == n)
        await house.broker.answer("at_vm", number, colour)
    outcome, succeeded, _ = await machine.outcome()
    assert succeeded, outcome
    got = [text for text in records.texts("at_vm", "log") if text.startswith("got")]
    assert [("red" in text, "blue" in text) for text in got] == [(True, False), (False, True)]
