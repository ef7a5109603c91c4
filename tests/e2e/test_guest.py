"""What only a real machine can show of the guest runtime: it is PID 1's child, owns a disk, and outlives its agent."""

from __future__ import annotations

import pytest

from swarm_sdk.client import Client
from swarm_sdk.types import name_of
from tests.e2e.harness import tickets
from tests.e2e.harness.deployment import Deployment
from tests.e2e.harness.waiting import eventually

pytestmark = pytest.mark.kinds("real")

FILES, FILE_BYTES = 33, 16 << 20
LARGER = """
total=$(du -sk data | cut -f1)
memory=$(sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo)
echo "$total KiB of files, $memory KiB of memory"
test "$total" -gt "$memory"
wc -c data/* | grep data > SIZES
"""
LEAVINGS = """
for n in 1 2 3; do (setsid sleep 300 &) ; done
sleep 0.2
touch done
"""
NOTHING_LEFT = """
for f in /proc/[0-9]*/status; do
  grep -Eq '^Name:.sleep|^State:.Z' $f && { cat $f; exit 1; }
done
exit 0
"""
WHERE = """
findmnt -no FSTYPE -T "$PWD" 2>/dev/null || stat -f -c %T "$PWD"
test "$(stat -f -c %i "$PWD")" = "$(stat -f -c %i "$HOME")"
test "$(stat -f -c %i "$PWD")" = "$(stat -f -c %i /tmp)"
grep -q "$(hostname)" /etc/hosts
test "$(cat /etc/machine-id | wc -c)" -eq 33
"""


# All but a few blocks are reserved, which takes no time; then something is written.
FILLING = """
fallocate -l $(( ($(stat -f -c %a .) - 64) * $(stat -f -c %S .) )) reserved
head -c 8M /dev/urandom > more
echo not reached
"""


async def test_what_an_agent_leaves_running_is_gone_before_the_tests(deployment: Deployment, client: Client) -> None:
    upstream = deployment.upstream("leavings", {"README.md": "x"})
    project = await tickets.project(client, upstream, test_command=NOTHING_LEFT)
    made = await client.tickets.create(tickets.shell(LEAVINGS, project_id=project.id))
    done = await tickets.settled(client, made.id)
    assert name_of(done, "state") == "in_review", await tickets.logs(client, made.id)


async def test_checkout_home_and_temporary_files_lie_on_the_scratch_disk(client: Client) -> None:
    made = await client.tickets.create(tickets.shell(WHERE))
    done = await tickets.settled(client, made.id)
    assert name_of(done, "state") == "completed", await tickets.logs(client, made.id)


async def test_an_agent_that_kills_the_runtime_fails_its_attempt(client: Client) -> None:
    made = await client.tickets.create(tickets.shell("kill -9 $PPID; sleep 60"))

    async def first_attempt_over() -> bool:
        return bool((await client.tickets.get(made.id)).causes)

    await eventually(first_attempt_over, "the first attempt ends")
    await client.tickets.cancel(made.id, "seen enough")
    first = (await tickets.attempts(client, made.id))[0]
    assert "killed by signal 9" in first.reason, first


async def test_a_full_disk_is_named(client: Client) -> None:
    made = await client.tickets.create(tickets.shell(FILLING))

    async def first_attempt_over() -> bool:
        return bool((await client.tickets.get(made.id)).causes)

    await eventually(first_attempt_over, "the first attempt ends")
    ticket = await client.tickets.cancel(made.id, "seen enough")
    assert list(ticket.causes)[:1] == ["disk_full"], await tickets.story(client, made.id)


async def test_a_repository_larger_than_the_memory_fits(deployment: Deployment, client: Client) -> None:
    """Its content compresses well, because packing and hashing in an emulated machine would only cost time."""
    files: dict[str, str | bytes] = {f"data/{n}": (b"%08d\n" % n) * (FILE_BYTES // 9) for n in range(FILES)}
    upstream = deployment.upstream("large", files)
    del files
    project = await tickets.project(client, upstream, test_command=f"test $(ls data | wc -l) -eq {FILES}")
    made = await client.tickets.create(tickets.shell(LARGER, project_id=project.id))
    done = await tickets.settled(client, made.id, patience_s=400)
    assert name_of(done, "state") == "in_review", await tickets.logs(client, made.id)
    assert len(upstream.read("SIZES", f"swarm/{done.key}/pr").splitlines()) == FILES
