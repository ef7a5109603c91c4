"""Each way to fail is one message on stderr and one exit code, as text and as JSON."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from swarm_cli.context import App, run
from swarm_sdk.errors import (
    AbortedError,
    AlreadyExistsError,
    CancelledError,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    SwarmError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)
from tests.unit.cli.conftest import Swarm

CODES = {
    SwarmError: 1,
    InternalError: 1,
    UnimplementedError: 1,
    InvalidArgumentError: 2,
    NotFoundError: 3,
    UnauthenticatedError: 4,
    PermissionDeniedError: 4,
    FailedPreconditionError: 5,
    AlreadyExistsError: 5,
    AbortedError: 5,
    UnavailableError: 6,
    DeadlineExceededError: 6,
    ResourceExhaustedError: 7,
    CancelledError: 130,
}


def end(error: BaseException, *, as_json: bool = False) -> int | str | None:
    """Exit code of a command that fails with `error`."""

    async def work() -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(SystemExit) as ended:
        run(App(Path("state"), as_json), work())
    return ended.value.code


@pytest.mark.parametrize(("kind", "code"), CODES.items(), ids=lambda each: getattr(each, "__name__", str(each)))
def test_exit_code_comes_from_the_error_tree(
    kind: type[SwarmError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end(kind("it broke")) == code

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: it broke\n")


def test_violations_and_request_id_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    violation = FieldViolation("/features/0/title", "must not be empty")
    end(InvalidArgumentError("the card is wrong", violations=(violation,), request_id="rq_1"))

    assert capsys.readouterr().err.splitlines() == [
        "error: the card is wrong",
        "  /features/0/title  must not be empty",
        "  request rq_1",
    ]


def test_json_errors_are_one_document_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    violation = FieldViolation("/name", "is needed")
    end(InvalidArgumentError("wrong", reason="card", violations=(violation,), request_id="rq_1"), as_json=True)

    said = capsys.readouterr()
    assert said.out == ""
    assert json.loads(said.err) == {
        "error": {
            "code": "INVALID_ARGUMENT",
            "message": "wrong",
            "reason": "card",
            "violations": [{"field": "/name", "description": "is needed"}],
            "request_id": "rq_1",
        }
    }


def test_an_error_cannot_inject_markup_or_control_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    violation = FieldViolation("[/]", "[link=http://evil]click[/link]")
    end(InvalidArgumentError("[bold]loud[/bold] [/nonsense]", violations=(violation,)))

    said = capsys.readouterr().err
    assert "[bold]loud[/bold] [/nonsense]" in said
    assert "[link=http://evil]click[/link]" in said
    assert "\x1b" not in said


def test_interruption_ends_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert end(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.startswith("interrupted")


def test_termination_ends_with_143() -> None:
    assert end(asyncio.CancelledError()) == 143


def test_what_the_system_refuses_is_told_with_its_path(swarm: Swarm, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = swarm("up", "--driver", "sim", "--state-dir", str(tmp_path / "file"))

    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/file")


@pytest.mark.parametrize(
    "args",
    [
        ("status",),
        ("ticket", "list"),
        ("ticket", "show", "TKT-001"),
        ("pr", "merge", "TKT-001"),
        ("vm", "console", "vm_1"),
        ("template", "bake"),
        ("cleanup",),
        ("engine", "start", "--foreground"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("as_json", [False, True])
def test_nothing_runs_there(swarm: Swarm, args: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - parameter
    done = swarm(*args, *(["--json"] if as_json else []))

    assert done.exit_code == 4
    assert done.stdout == ""
    assert "no token" in done.stderr
    if as_json:
        assert json.loads(done.stderr.splitlines()[-1])["error"]["reason"] == "no_token"
    else:
        assert "start it with `swarm up`" in done.stderr


@pytest.mark.parametrize("args", [("--host", "local"), ("--runs", "3")], ids=" ".join)
def test_a_cleanup_of_one_host_is_not_taken_for_one_of_all(swarm: Swarm, args: tuple[str, ...]) -> None:
    done = swarm("cleanup", *args)

    assert done.exit_code == 2
    assert "go with --status" in done.stderr


def test_a_token_that_cannot_be_text_is_refused(swarm: Swarm, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "admin.token").write_bytes(b"\xff\xfe")

    assert "cannot read the token" in swarm("status").stderr


def test_an_empty_token_is_refused(swarm: Swarm, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "admin.token").touch()

    assert "is empty" in swarm("status").stderr


def test_up_needs_root_unless_it_simulates(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = swarm("up")

    assert done.exit_code == 5
    assert "needs root" in done.stderr
