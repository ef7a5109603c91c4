"""Commands against a real control plane: output, JSON, exit codes."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.e2e.harness.deployment import Deployment
from tests.e2e.harness.upstream import Upstream
from tests.integration.cli.conftest import Swarm

HOSTILE = "\x1b[31mred\x1b[0m [bold]loud[/bold] [/nonsense] \x1b]0;title\x07"


@pytest.mark.parametrize(
    ("args", "kind"),
    [
        (("status",), dict),
        (("engine", "status"), dict),
        (("ticket", "list"), list),
        (("pr", "list"), list),
        (("pr", "list", "--state", "open"), list),
        (("host", "list"), list),
        (("vm", "list", "--all"), list),
        (("agent", "list"), list),
        (("image", "list"), list),
        (("template", "list"), list),
        (("cleanup",), dict),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else each.__name__,
)
def test_what_is_printed_for_programs_is_one_json_document(
    swarm: Swarm, args: tuple[str, ...], kind: type[object]
) -> None:
    done = swarm(*args, "--json")

    assert isinstance(done.json, kind)
    assert done.err == ""
    assert done.out.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "code", "reason"),
    [
        (("ticket", "show", "TKT-999"), 3, ""),
        (("ticket", "logs", "TKT-999"), 3, ""),
        (("ticket", "cancel", "tk_00000000000000000000000000"), 3, ""),
        (("pr", "show", "TKT-999"), 3, ""),
        (("pr", "merge", "TKT-999"), 3, ""),
        (("vm", "show", "vm_00000000000000000000000000"), 3, ""),
        (("host", "show", "nowhere"), 3, ""),
        (("host", "drain", "nowhere"), 3, ""),
        (("ticket", "create", "x", "--agent", "nobody"), 2, ""),
        (("ticket", "create", "x", "--agent", "shell"), 2, ""),
        (("ticket", "create", "x", "--agent", "shell", "--input", '{"script": 5}'), 2, ""),
        (("ticket", "create", "x", "--agent", "echo", "--input", '{"unknown": 1}'), 2, ""),
        (("ticket", "create", "x", "--agent", "echo", "--after", "TKT-999"), 2, ""),
        (("ticket", "create", "x", "--agent", "echo", "--project", "pj_none"), 2, ""),
        (("ticket", "create", ""), 2, ""),
        (("ticket", "create", "t" * 501, "--agent", "echo"), 2, ""),
        (("vm", "boot"), 6, ""),
    ],
    ids=lambda each: " ".join(each)[:60] if isinstance(each, tuple) else None,
)
def test_errors_have_their_exit_code_and_stay_off_standard_output(
    swarm: Swarm, args: tuple[str, ...], code: int, reason: str
) -> None:
    done = swarm(*args, "--json", code=None)

    assert done.code in {code} | ({5, 7} if code == 6 else set()), (done.code, done.err)
    assert done.out == ""
    assert done.error["message"]
    assert done.error["request_id"]
    assert "Traceback" not in done.err


def test_violations_point_at_the_field(swarm: Swarm) -> None:
    done = swarm("ticket", "create", "x", "--agent", "shell", "--input", '{"script": 5}', "--json", code=2)

    assert any("/input/script" in each["field"] for each in done.error["violations"])


def test_a_ticket_can_be_filed_held_shown_and_cancelled(swarm: Swarm) -> None:
    made = swarm("ticket", "create", "Say hello", "--agent", "echo", "--hold", "--json").json
    shown = swarm("ticket", "show", made["key"], "--json").json
    listed = swarm("ticket", "list", "--state", "pending", "--json").json
    cancelled = swarm("ticket", "cancel", made["key"], "--reason", "enough", "--json").json
    events = [json.loads(line) for line in swarm("ticket", "events", made["key"], "--json").out.splitlines()]

    assert made["state"] == "TICKET_STATE_PENDING"
    assert shown["id"] == made["id"]
    assert shown["attempt_list"] == []
    assert made["id"] in {each["id"] for each in listed}
    assert cancelled["state"] == "TICKET_STATE_CANCELLED"
    assert [each["seq"] for each in events] == [str(number + 1) for number in range(len(events))]
    assert events[-1]["data"]["to"] == "cancelled"


@pytest.mark.parametrize("verb", ["retry", "release", "cancel"])
def test_what_a_state_does_not_allow_is_refused(swarm: Swarm, verb: str) -> None:
    made = swarm("ticket", "create", "x", "--agent", "echo", *(["--hold"] if verb == "retry" else []), "--json").json
    if verb == "cancel":
        swarm("ticket", "cancel", made["key"])
    done = swarm("ticket", verb, made["key"], "--json", code=None)

    assert done.code in {0, 5}
    if verb != "cancel":  # cancelling again is no error, or one that says so
        assert done.code == 5


def test_hostile_words_reach_no_terminal(swarm: Swarm) -> None:
    made = swarm("ticket", "create", "x", "--agent", "echo", "--hold", "--description", HOSTILE, "--json", code=None)
    if made.code == 0:
        shown = swarm("ticket", "show", made.json["key"]).out
        assert "\x1b" not in shown
        assert "[bold]loud[/bold] [/nonsense]" in shown
    else:
        assert made.code == 2


def test_a_title_with_markup_is_shown_as_it_is(swarm: Swarm) -> None:
    title = "[bold]loud[/bold] [/nonsense] [link=http://x]y[/link]"
    made = swarm("ticket", "create", title, "--agent", "echo", "--hold", "--json").json

    assert title in swarm("ticket", "show", made["key"]).out


def test_an_external_agent_is_not_tested_in_a_vm(swarm: Swarm, tmp_path: Path) -> None:
    (tmp_path / "agent.json").write_text('{"name": "outsider", "version": "1.0.0", "external": true}')
    before = len(swarm("ticket", "list", "--json").json)
    done = swarm("agent", "test", str(tmp_path), "--json", code=2)

    assert "swarm ticket claim --agent outsider" in done.error["message"]
    assert len(swarm("ticket", "list", "--json").json) == before


def test_a_wrong_token_opens_nothing(swarm: Swarm, nobody: Path) -> None:
    for args in (("status",), ("ticket", "list"), ("engine", "stop")):
        done = swarm(*args, "--state-dir", str(nobody), "--json", code=4)
        assert done.error["code"] == "UNAUTHENTICATED"


def test_a_host_token_may_not_do_what_people_do(swarm: Swarm, control: Deployment, nobody: Path) -> None:
    tokens = list((control.state / "hosts").glob("*.token"))
    for token in tokens:
        (nobody / "admin.token").write_text(token.read_text())
        done = swarm("ticket", "list", "--state-dir", str(nobody), "--json", code=4)
        assert done.error["code"] == "PERMISSION_DENIED"


def test_secrets_are_for_their_owner_only(control: Deployment) -> None:
    for path in (control.state / "admin.token", control.state / "controlplane.db"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nobody_listens(swarm: Swarm, tmp_path: Path) -> None:
    (tmp_path / "admin.token").write_text("token" * 8)
    done = swarm("status", "--state-dir", str(tmp_path), "--json", code=6)

    assert done.error["code"] == "UNAVAILABLE"


def test_the_coordinator_remembers_that_it_was_stopped(swarm: Swarm) -> None:
    assert swarm("engine", "stop", "--json").json["state"] == "COORDINATOR_STATE_STOPPED"
    assert swarm("engine", "start", "--max-vms", "7", "--json").json["max_vms"] == 7
    assert swarm("status", "--json").json["state"] == "COORDINATOR_STATE_RUNNING"


def test_checking_a_card_creates_nothing(swarm: Swarm, tmp_path: Path, upstream: Upstream) -> None:
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"name": "checked", "features": [{"title": "One", "agent": "echo"}]}))
    before = len(swarm("ticket", "list", "--json").json)
    done = swarm("run", "--spec", str(card), "--repo", str(upstream.path), "--check", "--json").json

    assert len(done["tickets"]) == 1
    assert len(swarm("ticket", "list", "--json").json) == before


def test_a_held_card_becomes_pending_tickets(swarm: Swarm, tmp_path: Path, upstream: Upstream) -> None:
    card = tmp_path / "card.json"
    features = [{"id": "a", "title": "One"}, {"title": "Two", "depends_on": ["a"]}]
    card.write_text(json.dumps({"name": "held", "agent": "echo", "features": features}))
    done = swarm("run", "--spec", str(card), "--repo", str(upstream.path), "--hold", "--json").json

    assert [each["state"] for each in done["tickets"]] == ["TICKET_STATE_PENDING"] * 2
    assert done["tickets"][1]["spec"]["depends_on"] == [done["tickets"][0]["id"]]
    assert done["epic"]["spec"]["type"] == "TICKET_TYPE_EPIC"
    assert {each["spec"]["parent_id"] for each in done["tickets"]} == {done["epic"]["id"]}


def test_output_into_a_closed_pipe_is_no_error(control: Deployment) -> None:
    from tests.e2e.harness import cli  # noqa: PLC0415 - a process, not its result, is needed here alone

    with cli.start("ticket", "list", environment=control.environment) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        words = child.stderr.read()

    assert "Traceback" not in words
