"""The plain parts of the runner: deadlines, the journal, adoption, what a guest is told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from hostd.deadline import Deadline
from hostd.messages import AgentBundle, Assignment, AttemptRef, Repository, Step
from hostd.ports import BootTiming, Checkout, Dependency, Tier, Vm, VmSize
from hostd.runner.adoption import classify
from hostd.runner.journal import Entry, Journal, Phase
from hostd.runner.work import hostname, work


def assignment(attempt_id: str = "at_1") -> Assignment:
    return Assignment(
        attempt=AttemptRef(attempt_id, "tk_1", 3),
        ticket_key="TKT-001",
        title="Ünïcode",
        description="",
        acceptance_criteria=("works",),
        image="",
        size=VmSize(1, 256, 1024),
        agent=AgentBundle("shell", "1", "0" * 64, ("./run",)),
        input='{"n": 1}',
        repository=Repository("file:///r", "main", (Dependency("TKT-000", "refs/heads/x", "a" * 40),), "refs/heads/y"),
    )


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_deadline_stands_still_while_paused() -> None:
    clock = Clock()
    deadline = Deadline(10.0, clock)
    clock.now = 4.0
    deadline.pause()
    clock.now = 100.0
    deadline.pause()
    assert deadline.left() == 6.0
    deadline.resume()
    clock.now = 105.0
    deadline.resume()
    assert deadline.left() == 1.0
    clock.now = 200.0
    assert deadline.left() == 0.0


async def test_a_paused_deadline_does_not_expire_until_it_is_resumed() -> None:
    deadline = Deadline(0.01, paused=True)
    expired = asyncio.ensure_future(deadline.expired())
    await asyncio.sleep(0.03)
    assert not expired.done()
    deadline.resume()
    async with asyncio.timeout(60):
        await expired


def test_the_journal_gives_back_what_was_saved(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    entry = Entry(
        assignment(), Phase.FINISHED, "vm_1", boot=BootTiming(Tier.T0, 1, 2, 3), head="b" * 40, blocked=("rule, x",)
    )
    entry = replace(entry, outcome=b"\x00\xff".hex())
    journal.save(Entry(assignment("at_2")))
    journal.save(entry, sync=True)
    assert journal.load() == [entry, Entry(assignment("at_2"))]
    assert entry.finished().outcome == b"\x00\xff"
    assert (tmp_path / "at_1.json").stat().st_mode & 0o777 == 0o600
    journal.delete("at_1")
    journal.delete("at_1")
    assert [found.id for found in journal.load()] == ["at_2"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"phase": "started"}', "\x00" * 100])
def test_a_damaged_entry_is_set_aside_and_the_others_live(tmp_path: Path, content: str) -> None:
    journal = Journal(tmp_path)
    journal.save(Entry(assignment("at_good")))
    (tmp_path / "at_bad.json").write_text(content, encoding="utf-8")
    assert [entry.id for entry in journal.load()] == ["at_good"]
    assert (tmp_path / "at_bad.damaged").exists()


@dataclass
class FakeVm:
    id: str
    attempt_id: str | None


def test_only_started_attempts_with_their_vm_go_on() -> None:
    def entry(number: int, phase: Phase, vm_id: str = "") -> Entry:
        return Entry(assignment(f"at_{number}"), phase, vm_id)

    entries = [
        entry(1, Phase.STARTED, "vm_1"),
        entry(2, Phase.STARTED, "vm_gone"),
        entry(3, Phase.ASSIGNED, "vm_3"),
        entry(4, Phase.FINISHED, "vm_4"),
        entry(5, Phase.ASSIGNED),
    ]
    attempts = {"vm_1": "at_1", "vm_3": "at_3", "vm_4": "at_4", "vm_manual": None, "vm_unknown": "at_9"}
    vms = [cast("Vm", FakeVm(vm_id, attempt_id)) for vm_id, attempt_id in attempts.items()]
    found = classify(entries, vms)
    assert [(entry.id, vm.id) for entry, vm in found.running] == [("at_1", "vm_1")]
    assert [entry.id for entry in found.finished] == ["at_4"]
    assert [entry.id for entry in found.lost] == ["at_2", "at_3", "at_5"]
    assert [vm.id for vm in found.manual] == ["vm_manual"]
    assert [vm.id for vm in found.stray] == ["vm_3", "vm_4", "vm_unknown"]


def test_a_guest_learns_its_own_ref_and_nothing_of_the_upstream() -> None:
    checkout = Checkout("c" * 40, Path("/srv/staging/at_1.git"), "main", ("a.py",), ("d" * 40,))
    told = work(assignment(), checkout, "http://172.16.0.1:8000", "m" * 32)
    assert told["checkout"] == {
        "url": "http://172.16.0.1:8000/git/repo.git",
        "base": "c" * 40,
        "push_ref": "refs/heads/y",
        "author_name": "shell",
        "author_email": "agent@swarm.invalid",
        "conflicts": ["a.py"],
        "merge_heads": ["d" * 40],
    }
    assert (told["input"], told["hostname"]) == ({"n": 1}, "tkt-001-a3")
    assert "file:///r" not in str(told)
    assert "/srv" not in str(told)
    assert work(assignment(), None, "http://x", "")["checkout"] == {}


@pytest.mark.parametrize(("key", "name"), [("TKT-001", "tkt-001-a2"), ("../é", "vm-a2"), ("x" * 300, "x" * 40 + "-a2")])
def test_host_names_are_valid(key: str, name: str) -> None:
    assert hostname(key, 2) == name


def test_the_steps_of_a_workflow_are_written_down_and_told(tmp_path: Path) -> None:
    shell, none = AgentBundle("shell", "1", "a" * 64, ("./run",)), AgentBundle("", "", "", ())
    steps = (Step("one", "", shell, (), '{"n": 1}'), Step("two", "why", shell, ("one",), "{}"))
    flow = replace(assignment(), agent=none, input="{}", workflow="flow@1.0.0", steps=steps)
    assert flow.digests == ("a" * 64,)
    journal = Journal(tmp_path)
    journal.save(Entry(flow))
    assert [entry.assignment for entry in journal.load()] == [flow]
    told = work(flow, Checkout("", tmp_path, "main"), "http://host", "0" * 32)
    assert [(each["name"], each["needs"], each["input"]) for each in told["steps"]] == [
        ("one", [], {"n": 1}),
        ("two", ["one"], {}),
    ]
    assert told["steps"][0]["agent"]["digest"] == "a" * 64
    assert (told["workflow"], told["checkout"]["author_name"]) == ("flow@1.0.0", "flow")
