"""The SDK against a control plane: every example of its page, and the client for programs without a loop."""

from __future__ import annotations

import ast
import asyncio
import re
import textwrap
from pathlib import Path

import pytest

from swarm_sdk import NotFoundError, SyncClient, TicketSpec
from tests.fakes.control import Control
from tests.fakes.host import FakeHost, finished, running

PAGE = Path(__file__).parents[3] / "docs" / "sdk.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


async def serve(host: FakeHost) -> None:
    """Ends whatever is assigned, well and without a change."""
    done = set[str]()
    while True:
        for event in list(host.received):
            ref = event.assignment.attempt
            if event.HasField("assignment") and ref.attempt_id not in done:
                done.add(ref.attempt_id)
                await host.deliver(running(ref), finished(ref, head=""))
        async with host.arrived:
            await host.arrived.wait()


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
async def test_each_example_of_the_page_runs(control: Control, host: FakeHost, example: str) -> None:
    serving = asyncio.create_task(serve(host))
    scope = {"state_dir": control.config.state_dir}
    code = compile(example, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & 0x80:  # it awaits something
        body = f"async def example():\n{textwrap.indent(example, '    ')}"
        exec(compile(body, str(PAGE), "exec"), scope)  # noqa: S102 - our own page
        await scope["example"]()  # type: ignore[operator]
    else:
        await asyncio.to_thread(exec, code, scope)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


def work(control: Control) -> None:
    with SyncClient.open(control.config.state_dir) as swarm:
        made = [swarm.tickets.create(TicketSpec(title=f"Part {number}"), hold=True) for number in range(3)]
        assert [each.key for each in swarm.tickets.list()] == [each.key for each in made]
        with pytest.raises(NotFoundError):
            swarm.tickets.get("TKT-999")
        seen = []
        for answer in swarm.tickets.watch(made[0].id):
            seen.append(answer.ticket.state)
            if len(seen) == 2:
                break
            swarm.tickets.cancel(made[0].id)
        assert len(set(seen)) == 2
        swarm.tickets.delete(made[0].id)
        assert [agent.name for agent in swarm.registry.list() if agent.name == "echo"] == ["echo"]
        assert list(swarm.agents.list()) == []


async def test_a_program_without_a_loop_has_the_same_client(control: Control) -> None:
    await asyncio.to_thread(work, control)


async def test_a_client_that_cannot_be_made_leaves_no_thread(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="is the control plane running"):
        await asyncio.to_thread(SyncClient.open, tmp_path)
