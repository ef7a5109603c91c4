"""Changing many tickets, deleting them, and seeing what runs, from the command line."""

from __future__ import annotations

from typing import Any

from tests.integration.cli.conftest import Swarm


def answer(swarm: Swarm, *args: str, code: int = 0) -> Any:
    return swarm(*args, "--json", code=code).json


def held(swarm: Swarm, title: str, *more: str) -> str:
    return str(answer(swarm, "ticket", "create", title, "--hold", *more)["key"])


def test_many_are_found_ordered_tagged_and_deleted(in_process: Swarm) -> None:
    urgent, later = held(in_process, "Bulk one", "--priority", "1"), held(in_process, "bulk TWO", "--priority", "8")
    listed = answer(in_process, "ticket", "list", "--search", "BULK", "--order", "priority", "--reverse")
    assert [ticket["key"] for ticket in listed] == [later, urgent]
    done = answer(in_process, "ticket", "bulk", "tag", urgent, later, "--add", "swept")
    assert [result["ticket"]["spec"]["tags"] for result in done] == [["swept"], ["swept"]]
    part = answer(in_process, "ticket", "bulk", "assign", urgent, "TKT-99999", "--assignee", "ann", code=8)
    assert [result["code"] for result in part] == ["", "NOT_FOUND"]
    refused = in_process("ticket", "delete", urgent, "TKT-99999", code=5)
    assert "/ids/1" in refused.err
    assert "deleted" in in_process("ticket", "delete", urgent, later).out
    assert answer(in_process, "ticket", "list", "--search", "bulk") == []


def test_what_was_not_pushed_has_no_diff(in_process: Swarm) -> None:
    key = held(in_process, "Nothing yet")
    assert "nothing was pushed yet" in in_process("ticket", "diff", key).err
    assert answer(in_process, "ticket", "diff", key)["changed_files"] == 0


def test_nothing_runs_without_a_host(in_process: Swarm) -> None:
    assert answer(in_process, "agent", "ps") == []
    assert "no agent runs now" in in_process("agent", "ps").err
    in_process("agent", "logs", "TKT-99999", code=3)
    assert answer(in_process, "failures")["circuit"]["state"] == "CIRCUIT_STATE_CLOSED"


def test_a_project_without_work_is_deleted(in_process: Swarm) -> None:
    made = answer(in_process, "project", "create", "short-lived")["id"]
    assert answer(in_process, "project", "delete", made) == {"deleted": made}
    in_process("project", "delete", made, code=3)
