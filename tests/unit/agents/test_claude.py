"""The built-in agents `claude` and `claude-code`, as programs, against a Messages server and a `claude` of the test."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from anthropic.types import Message

from tests.fakes.messages import Refusal, message, messages_server, text, tool_use

AGENTS = Path(__file__).resolve().parents[3] / "controlplane" / "agents"
TICKET = {
    "ticket_key": "TKT-001",
    "title": "Paint it",
    "description": "The door is grey.",
    "acceptance_criteria": ["it is red"],
    "checkout": {"conflicts": ["door.txt"]},
    "test_command": "make check",
}
STEPS = {"plan": {"status": "succeeded", "summary": "use oil paint", "outputs": {"coats": 2}}}


@dataclass(slots=True)
class Done:
    """How an agent ended and what it said."""

    status: int
    events: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def texts(self, kind: str = "log") -> list[str]:
        return [event.get("text", "") for event in self.events if event["type"] == kind]

    def data(self, kind: str) -> list[Any]:
        return [event["data"] for event in self.events if event["type"] == kind]


def run(agent: str, folder: Path, wanted: dict[str, Any], *, said: str = "", **environment: str) -> Done:
    """Run the agent in `folder`/checkout; each line that it prints has to be an event."""
    checkout = folder / "checkout"
    checkout.mkdir(exist_ok=True)
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(folder), "HOME": str(folder)}
    for name, value in (("TICKET", TICKET), ("INPUT", wanted), ("STEPS", STEPS)):
        path = folder / f"{name}.json"
        path.write_text(json.dumps(value))
        env[f"SWARM_{name}"] = str(path)
    argv = [sys.executable, "-I", str(AGENTS / agent / "run")]
    done = subprocess.run(
        argv, cwd=checkout, env=env | environment, input=said, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return Done(done.returncode, [json.loads(line) for line in done.stdout.splitlines()])


def claude(folder: Path, answers: Sequence[Message | Refusal], said: str = "", **wanted: Any) -> Done:
    with messages_server(answers) as server:
        done = run("claude", folder, wanted, said=said, ANTHROPIC_BASE_URL=server.url)
    assert not server.answers, "everything that was to be said was asked for"
    done.asked, done.headers = server.requests, server.headers
    return done


def use(*blocks: dict[str, Any]) -> Message:
    return message(*blocks, stop="tool_use")


def results(request: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Answers of tools in the last message of a request, with whether they are errors."""
    blocks = request["messages"][-1]["content"]
    return {each["tool_use_id"]: (each["content"], each.get("is_error", False)) for each in blocks}


def test_claude_works_with_its_tools_until_it_is_done(tmp_path: Path) -> None:
    first = use(
        text("I look."),
        tool_use("a", "write_file", path="sub/door.txt", content="grey\nwood\n"),
        tool_use("b", "edit_file", path="sub/door.txt", old="grey", new="red"),
        tool_use("c", "read_file", path="sub/door.txt", lines=1),
        tool_use("d", "bash", command="cat sub/door.txt; exit 3"),
        tool_use("e", "edit_file", path="sub/door.txt", old="blue", new="red"),
        tool_use("f", "no_such_tool"),
        tool_use("g", "bash", wrong=1),
        tool_use("h", "set_output", name="colour", value="red"),
    )
    done = claude(tmp_path, [first, message(text("The door is red."))], instructions="Use a brush.")
    assert done.status == 0
    assert (tmp_path / "checkout/sub/door.txt").read_text() == "red\nwood\n"
    assert done.texts() == ["I look.", "The door is red."]
    assert done.data("output") == [{"colour": "red"}]
    assert [each["output_tokens"] for each in done.data("usage")] == [5, 5]
    answers = results(done.asked[1])
    assert answers["c"] == ("1\tred", False)
    assert answers["d"] == ("red\nwood\n\nexit status 3", False)
    assert [ident for ident, (_, wrong) in answers.items() if wrong] == ["e", "f", "g"]
    task = done.asked[0]["messages"][0]["content"][0]["text"]
    for words in (
        "Paint it",
        "The door is grey.",
        "it is red",
        "door.txt",
        "use oil paint",
        '"coats": 2',
        "Use a brush.",
        "make check",
    ):
        assert words in task


def test_no_credential_leaves_the_agent(tmp_path: Path) -> None:
    done = claude(tmp_path, [message(text("done"))])
    assert not {"x-api-key", "authorization"} & set(done.headers[0])
    assert done.headers[0]["anthropic-version"] == "2023-06-01"


def test_a_busy_service_is_asked_again_when_it_says(tmp_path: Path) -> None:
    soon = {"retry-after": "0"}
    done = claude(tmp_path, [Refusal(429, soon), Refusal(529, soon), Refusal(503, soon), message(text("done"))])
    assert done.status == 0
    assert [line.partition(":")[0] for line in done.texts()] == ["try 1", "try 2", "try 3", "done"]


def test_a_refused_request_is_not_repeated(tmp_path: Path) -> None:
    done = claude(tmp_path, [Refusal(400)])
    assert done.status == 1
    assert done.texts() == ['gave up: the request was refused: 400 {"type": "error"}']


def test_the_number_of_turns_is_bounded(tmp_path: Path) -> None:
    turns = [use(tool_use(f"t{turn}", "bash", command="true")) for turn in range(3)]
    done = claude(tmp_path, turns, max_turns=3)
    assert (done.status, done.texts()) == (1, ["gave up: not done after 3 turns"])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (use(tool_use("a", "give_up", reason="no brush")), "gave up: no brush"),
        (message(text("no"), stop="refusal"), "gave up: Claude stopped: refusal"),
    ],
)
def test_giving_up_fails_the_attempt(tmp_path: Path, answer: Message, words: str) -> None:
    done = claude(tmp_path, [answer])
    assert (done.status, done.texts()[-1]) == (1, words)


def test_a_question_waits_for_its_answer(tmp_path: Path) -> None:
    said = json.dumps({"type": "answer", "text": "blue"}) + "\n"
    ask = tool_use("a", "ask", question="Which colour?")
    done = claude(tmp_path, [use(ask), message(text("done"))], said)
    assert done.texts("question") == ["Which colour?"]
    assert results(done.asked[1])["a"] == ("blue", False)


def test_an_answer_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    cut = message(tool_use("a", "write_file", path="x"), stop="max_tokens")
    done = claude(tmp_path, [cut, message(text("half"), stop="max_tokens"), message(text("done"))])
    assert done.status == 0
    assert results(done.asked[1])["a"][1]
    assert not (tmp_path / "checkout/x").exists()


def test_old_tool_results_are_dropped_once_they_fill_the_context(tmp_path: Path) -> None:
    turns = [use(tool_use(f"t{turn}", "bash", command=f"echo said {turn}")) for turn in range(8)]
    full = message(tool_use("t8", "bash", command="true"), stop="tool_use", tokens=200_000)
    done = claude(tmp_path, [*turns, full, message(text("done"))])
    last = json.dumps(done.asked[-1])
    assert "said 0" not in last.replace("echo said 0", "")
    assert "said 7\\n" in last.replace("\\\\n", "\\n")


# Claude Code

STREAM = [
    {"type": "system", "subtype": "init"},
    {"type": "assistant", "message": {"content": [text("I look."), tool_use("a", "Bash", command="ls")]}},
    {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]}},
]
RESULT = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "result": "The door is red.",
    "num_turns": 2,
    "total_cost_usd": 0.25,
    "usage": {"input_tokens": 7, "output_tokens": 9, "service_tier": "standard"},
}


def program(folder: Path, lines: Sequence[Any], status: int = 0, outputs: str = "") -> str:
    """A `claude` that keeps how it was called and prints the lines; returns the PATH on which it is first."""
    bin_ = folder / "bin"
    bin_.mkdir()
    printed = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines)
    (folder / "stream").write_text(printed + "\n")
    script = f"""#!/bin/sh
cat > {folder}/prompt
printf '%s\\n' "$@" > {folder}/arguments
env > {folder}/environment
cat {folder}/stream
test -z '{outputs}' || printf '%s' '{outputs}' > $TMPDIR/outputs.json
exit {status}
"""
    (bin_ / "claude").write_text(script)
    (bin_ / "claude").chmod(0o755)
    return f"{bin_}:{os.environ['PATH']}"


def claude_code(folder: Path, path: str, **wanted: Any) -> Done:
    return run("claude-code", folder, wanted, PATH=path, ANTHROPIC_BASE_URL="http://broker/anthropic")


def test_claude_code_is_run_without_a_terminal_and_its_stream_becomes_events(tmp_path: Path) -> None:
    path = program(tmp_path, [*STREAM, "a line of its own", RESULT], outputs='{"colour": "red"}')
    done = claude_code(tmp_path, path, model="claude-test", instructions="Use a brush.")
    assert done.status == 0
    assert done.texts() == ["I look.", "a line of its own", "The door is red."]
    assert done.texts("progress") == ["Bash ls"]
    assert done.data("usage") == [{"turns": 2, "cost_usd": 0.25, "input_tokens": 7, "output_tokens": 9}]
    assert done.data("output") == [{"colour": "red"}]
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[:4] == ["-p", "--output-format", "stream-json", "--verbose"]
    assert arguments[arguments.index("--model") + 1] == "claude-test"
    prompt = (tmp_path / "prompt").read_text()
    assert all(words in prompt for words in ("Paint it", "it is red", "door.txt", "use oil paint", "Use a brush."))
    assert "ANTHROPIC_BASE_URL=http://broker/anthropic" in (tmp_path / "environment").read_text()


@pytest.mark.parametrize(
    ("lines", "status", "last"),
    [
        ([{**RESULT, "subtype": "error_max_turns", "is_error": True, "result": None}], 0, "gave up: error_max_turns"),
        ([RESULT], 3, "gave up: success"),
        (STREAM, 0, "Claude Code ended with status 0 and no result"),
        (["oops"], 2, "Claude Code ended with status 2 and no result"),
    ],
)
def test_claude_code_that_fails_fails_the_attempt(tmp_path: Path, lines: list[Any], status: int, last: str) -> None:
    done = claude_code(tmp_path, program(tmp_path, lines, status, outputs='{"x": 1}'))
    assert done.status == (status or 1)
    assert done.texts()[-1] == last
    assert done.data("output") == []


def test_an_image_without_claude_code_says_so(tmp_path: Path) -> None:
    done = claude_code(tmp_path, str(tmp_path))
    assert done.status == 127
    assert "cannot be started" in done.texts()[-1]


def test_both_agents_ask_the_same_way() -> None:
    """Bundles stand alone, so each has its own copy."""
    sources = [(AGENTS / name / "run").read_text() for name in ("claude", "claude-code")]
    copies = [re.findall(r"^def prompt\(.*?(?=^def |\n\n\n)", source, re.DOTALL | re.MULTILINE) for source in sources]
    assert copies[0] == copies[1] != []
