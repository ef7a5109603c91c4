"""A shell script and the example as agents, against a real control plane."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from swarm_sdk import Client, Project, TicketSpec, TicketState
from tests.e2e.harness.upstream import IDENTITY, Upstream
from tests.fakes.control import Control

ROOT = Path(__file__).parents[3]
SCRIPT = """
set -eu
claim=$($SWARM ticket claim --agent porter --wait 30 --json)
get() { printf %s "$claim" | $PYTHON -c "import json, sys; print(json.load(sys.stdin)$1)"; }
fence=$(get '["fence"]')
key=$(get '["ticket"]["key"]')
git clone --quiet "$(get '["git_url"]')" work
cd work
$SWARM ticket heartbeat "$key" --fence "$fence" --log cloned
echo two > b.txt
git add b.txt
git commit --quiet --message=Change
git push --quiet
$SWARM ticket complete "$key" --fence "$fence" --head "$(git rev-parse HEAD)" --json
"""


async def run(*argv: str, cwd: Path, home: Path) -> tuple[int, str, str]:
    swarm = f"{sys.executable} -m swarm_cli.main"
    path = os.pathsep.join(str(ROOT / part) for part in ("", "clients/python", "clients/cli", "proto/gen"))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": path,
        "SWARM": swarm,
        "PYTHON": sys.executable,
        "SWARM_STATE_DIR": str(home),
        "HOME": str(cwd),
        **IDENTITY,
    }
    child = await asyncio.create_subprocess_exec(
        *argv, cwd=cwd, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await child.communicate()
    return child.returncode or 0, out.decode(), err.decode()


async def test_a_shell_script_can_be_an_agent(
    client: Client, control: Control, project: Project, upstream: Upstream, tmp_path: Path
) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x", project_id=project.id))
    home = control.config.state_dir
    code, out, err = await run("sh", "-c", SCRIPT, cwd=tmp_path, home=home)
    assert code == 0, err
    assert json.loads(out.splitlines()[-1])["ticket"]["state"] == "TICKET_STATE_IN_REVIEW"
    assert upstream.read("b.txt", "swarm/TKT-001/a1") == "two"
    assert (await client.tickets.wait(ticket.id)).pull_request_id
    (log,) = await client.tickets.events(ticket.id, types=["agent.log"])
    assert log.data["text"] == "cloned"
    code, _, err = await run("sh", "-c", "$SWARM ticket claim", cwd=tmp_path, home=home)
    assert code == 3
    code, _, err = await run("sh", "-c", "$SWARM ticket heartbeat TKT-001 --fence 1", cwd=tmp_path, home=home)
    assert code == 5
    assert "the lease is over" in err


async def test_the_example_does_what_it_says(
    client: Client, control: Control, project: Project, upstream: Upstream, tmp_path: Path
) -> None:
    ticket = await client.tickets.create(TicketSpec(title="Say hello", project_id=project.id))
    argv = (sys.executable, str(ROOT / "examples" / "external_agent.py"), "--once", "--state-dir")
    home = control.config.state_dir
    code, out, err = await run(*argv, str(home), cwd=tmp_path, home=home)
    assert (code, out) == (0, "TKT-001 is done\n"), err
    assert (await client.tickets.wait(ticket.id)).state == TicketState.TICKET_STATE_IN_REVIEW
    assert upstream.read("TKT-001.md", "swarm/TKT-001/a1").startswith("# Say hello")
