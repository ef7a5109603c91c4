"""A new agent that runs at once: manifest, program, and what to do next."""

from __future__ import annotations

import json
import re
from pathlib import Path

from swarm_sdk.errors import AlreadyExistsError, InvalidArgumentError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 63

_RUN = '''\
#!/usr/bin/env python3
"""What the agent does. The working directory is the checkout; what is left in it is committed."""

import json
import os
from pathlib import Path


def say(kind, text="", **data):
    """One event, as a JSON line: log, progress, question, usage, artifact or output."""
    print(json.dumps({"type": kind, "text": text, "data": data}), flush=True)


def main():
    ticket = json.loads(Path(os.environ["SWARM_TICKET"]).read_text())
    wanted = json.loads(Path(os.environ["SWARM_INPUT"]).read_text())
    steps = json.loads(Path(os.environ["SWARM_STEPS"]).read_text())  # of a workflow, by name
    whom = wanted.get("whom", "world")
    say("log", f"working on {ticket['ticket_key']}: {ticket['title']}, after {len(steps)} steps")
    Path("GREETING").write_text(f"Hello, {whom}!\\n")
    say("output", greeted=whom)
    say("progress", "done", fraction=1)


main()
'''

_README = """\
# {name}

An agent for Swarm. `agent.json` says what it is and what input it takes, `run` is what is executed.

    swarm agent test {folder} --input '{{"whom": "you"}}'
    swarm agent publish {folder}
    swarm ticket create 'Greet somebody' --agent {name} --input '{{"whom": "you"}}' --follow

A published version never changes: raise `version` in `agent.json` before you publish again.
"""


def scaffold(name: str, folder: Path) -> list[Path]:
    """The files written. `InvalidArgumentError` for a bad name, `AlreadyExistsError` for a folder with content."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise InvalidArgumentError(f"{name!r} is no name for an agent: lower-case letters, digits and single dashes")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AlreadyExistsError(f"{folder} exists and is not empty")
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {
        "name": name,
        "version": "0.1.0",
        "description": "Greets somebody in a file.",
        "image": "default",
        "command": ["./run"],
        "input_schema": {
            "type": "object",
            "properties": {"whom": {"type": "string", "minLength": 1, "description": "Whom to greet."}},
            "additionalProperties": False,
        },
    }
    texts = {
        "agent.json": json.dumps(manifest, indent=2) + "\n",
        "run": _RUN,
        "README.md": _README.format(name=name, folder=folder),
    }
    for file, content in texts.items():
        (folder / file).write_text(content, encoding="utf-8")
    (folder / "run").chmod(0o755)
    return [folder / file for file in texts]
