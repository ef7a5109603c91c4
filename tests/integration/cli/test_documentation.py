"""What the documentation shows is what the program takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from swarm_cli.commands.agent import bundle
from tests.e2e.harness.deployment import Deployment
from tests.e2e.harness.upstream import Upstream
from tests.integration.cli.conftest import Swarm


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("place", ["docs/quickstart.md", "examples/shelf.card.json"])
def test_cards_are_accepted(in_process: Swarm, root: Path, tmp_path: Path, upstream: Upstream, place: str) -> None:
    path = root / place
    (text,) = blocks(path, "json") if path.suffix == ".md" else [path.read_text(encoding="utf-8")]
    card = tmp_path / "card.json"
    card.write_text(text)
    done = in_process("run", "--spec", str(card), "--repo", str(upstream.path), "--check", "--json").json

    assert len(done["tickets"]) == len(json.loads(text)["features"])


async def test_the_agent_of_the_guide_is_accepted(control: Deployment, root: Path, tmp_path: Path) -> None:
    guide = root / "docs/agents.md"
    (tmp_path / "agent.json").write_text(blocks(guide, "json")[0])
    program = tmp_path / "run"
    program.write_text(blocks(guide, "sh")[0])
    program.chmod(0o755)
    async with control.client() as client:
        agent = await client.registry.publish(bundle(tmp_path))

    assert (agent.name, agent.version) == ("greeter", "1.0.0")
    assert agent.input_schema["required"] == ["whom"]
