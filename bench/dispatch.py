"""Layered graphs of tickets through a real control plane and the streams of fifty hosts, everything stored."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import apsw
import uvloop

from bench.control import Control, control_plane, cpu_s, resident_mib, wait_for_hosts, wait_until_ready
from bench.measure import Row, figures
from bench.procrastinate_peer import NAME_OF_PEER, Peer, cluster, missing
from swarm_sdk.client import Client
from swarm_sdk.types import TicketSpec

NAME = "dispatch"
SUMMARY = "layered graphs of tickets over 50 hosts in a second process: tickets per second, latency, memory"

HOSTS = tuple(f"bench-{number:02}" for number in range(50))
LAYERS, WIDTH = 5, 6
GRAPH = LAYERS * WIDTH
ROUND = 22 * GRAPH
"""Tickets of one round: the default of 100 rounds is 66,000 tickets."""
PACE = 1050.0
"""Tickets filed per second at most, so that 100 rounds last more than a minute; what is slower sets its own pace."""
WINDOW = 1000
"""Tickets that are filed and not yet finished, at most."""
FILERS = 4
QUARTERS = 4
SAMPLE_S = 0.25
STUCK_S = 60.0
PEER_PART = 10
"""The peer gets every tenth ticket: it takes many times as long for each."""
PACED_ROUND = 20
"""Tickets of one round that come at fixed times, for their latency: 2,000 by default."""
PACED = 50.0
"""So many of them come per second: three commits each, with a disk that takes a few milliseconds for one."""


def graph(dice: random.Random) -> list[TicketSpec]:
    """Each ticket depends on two of the layer before."""
    specs = []
    for layer in range(LAYERS):
        for place in range(WIDTH):
            above = dice.sample(range(WIDTH), 2) if layer else []
            needs = [f"l{layer - 1}n{each}" for each in above]
            specs.append(ticket(f"Layer {layer}, ticket {place}", ref=f"l{layer}n{place}", depends_on=needs))
    return specs


def ticket(title: str, ref: str = "", depends_on: Sequence[str] = ()) -> TicketSpec:
    return TicketSpec(
        title=title,
        description="As long as what people write when they say in two or three sentences what they want to have, "
        "where it belongs, and what to look out for while it is being done.",
        acceptance_criteria=["It does what the title says", "Its tests pass"],
        agent="echo",
        ref=ref,
        depends_on=depends_on,
    )


@dataclass(slots=True)
class Fleet:
    """The second process, and how many attempts it has ended."""

    process: subprocess.Popen[str]
    arrivals: Path
    ended: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def follow(self) -> None:
        """Reads its lines on the running event loop."""
        out = self._out()
        loop = asyncio.get_running_loop()

        def line() -> None:
            if text := out.readline():
                self.ended = int(text)
                self.changed.set()
            else:
                loop.remove_reader(out)

        loop.add_reader(out, line)

    def _out(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    async def until(self, ended: int) -> None:
        """RuntimeError when nothing moves any more."""
        while self.ended < ended:
            self.changed.clear()
            try:
                async with asyncio.timeout(STUCK_S):
                    await self.changed.wait()
            except TimeoutError:
                raise RuntimeError(f"stuck: {self.ended} of {ended} attempts ended") from None

    def stop(self) -> dict[str, float]:
        """When each assignment arrived, on CLOCK_BOOTTIME."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(STUCK_S)
        found: dict[str, float] = json.loads(self.arrivals.read_text())
        return found


@contextmanager
def fleet(control: Control, hosts: Sequence[str], *options: str) -> Iterator[Fleet]:
    """`hosts` in one process, attached to the control plane."""
    with tempfile.TemporaryDirectory(prefix="swarm-fleet-") as folder:
        tokens, arrivals = Path(folder) / "tokens.json", Path(folder) / "arrivals.json"
        tokens.write_text(json.dumps({name: control.token(name) for name in hosts}))
        command = [sys.executable, "-m", "bench.fleet", str(control.socket), str(tokens), str(arrivals), *options]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield Fleet(process, arrivals)
            finally:
                process.kill()


@dataclass(slots=True)
class Stretch:
    """A quarter of the run: how long it took, and the control plane's memory and processor time meanwhile."""

    seconds: float
    resident_mib: float
    cpu_ms: float


class Run:
    """Files graphs and waits for them."""

    def __init__(self, control: Control, client: Client, hosts: Fleet) -> None:
        self._control = control
        self._client = client
        self._fleet = hosts
        self._dice = random.Random(1)  # noqa: S311 - the same graphs in each run
        self._filed = 0

    async def stretch(self, tickets: int) -> Stretch:
        """`tickets` is a multiple of the size of a graph."""
        before, began = cpu_s(self._control.pid), time.perf_counter()
        memory: list[float] = []
        watching = asyncio.create_task(self._watch(memory))
        due = iter(began + number * GRAPH / PACE for number in range(tickets // GRAPH))
        await asyncio.gather(*(self._file(due) for _ in range(FILERS)))
        await self._fleet.until(self._filed)
        taken = time.perf_counter() - began
        watching.cancel()
        cpu_ms = (cpu_s(self._control.pid) - before) * 1e3
        memory.append(resident_mib(self._control.pid))
        return Stretch(taken, sum(memory) / len(memory), cpu_ms)

    async def _file(self, due: Iterator[float]) -> None:
        for moment in due:
            await asyncio.sleep(moment - time.perf_counter())
            self._filed += GRAPH
            await self._fleet.until(self._filed - WINDOW)
            await self._client.tickets.create_all(graph(self._dice))

    async def paced(self, tickets: int) -> dict[str, float]:
        """Files each at its time, whatever has become of those before it.

        When all are done, answers by id when its filer knew that it is stored, on CLOCK_BOOTTIME.
        """
        answered: dict[str, float] = {}

        async def file(number: int) -> None:
            filed = await self._client.tickets.create(ticket(f"Number {number}"))
            answered[filed.id] = time.clock_gettime(time.CLOCK_BOOTTIME)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as filing:
            for number in range(tickets):
                await asyncio.sleep(began + number / PACED - time.perf_counter())
                filing.create_task(file(number))
        self._filed += tickets
        await self._fleet.until(self._filed)
        return answered

    async def _watch(self, memory: list[float]) -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            memory.append(resident_mib(self._control.pid))


@dataclass(slots=True)
class Outcome:
    """`peer_ms` is the peer's time per job of each of its stretches; `answered` holds what came in the open loop."""

    stretches: list[Stretch] = field(default_factory=list)
    answered: dict[str, float] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    paced_ms: list[float] = field(default_factory=list)
    answered_ms: list[float] = field(default_factory=list)
    peer_ms: list[float] = field(default_factory=list)
    peer_latencies_ms: list[float] = field(default_factory=list)


async def drive(control: Control, hosts: Fleet, n: int, dsn: str) -> Outcome:
    """The run in quarters, with one of the peer's after each of ours."""
    hosts.follow()
    each = max(GRAPH, n * ROUND // QUARTERS // GRAPH * GRAPH)
    outcome = Outcome()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client.open(control.state))
        peer = await stack.enter_async_context(Peer(dsn, LAYERS, WIDTH)) if dsn else None
        await wait_for_hosts(client, HOSTS)
        run = Run(control, client, hosts)
        for _ in range(QUARTERS):
            outcome.stretches.append(await run.stretch(each))
            if peer is not None:
                graphs = max(1, each // PEER_PART // GRAPH)
                taken, waits = await peer.stretch(graphs)
                outcome.peer_ms.append(taken * 1e3 / graphs / GRAPH)
                outcome.peer_latencies_ms += waits
        outcome.answered = await run.paced(n * PACED_ROUND)
    return outcome


def clock() -> float:
    """What turns CLOCK_BOOTTIME into the control plane's clock, which is its wall clock at start carried on by it."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def latencies(control: Control, arrived: dict[str, float], offset: float) -> dict[str, float]:
    """By ticket the milliseconds from the change that made it ready, by its stored event, to its arrival at a host.

    The event's time is taken before its commit, so the commit is part of it. RuntimeError when anything is missing.
    """
    database = apsw.Connection(str(control.database), flags=apsw.SQLITE_OPEN_READONLY)
    moves: dict[str, list[tuple[str, float]]] = {}
    rows = database.execute("SELECT time, data FROM event WHERE topic = 'tickets' AND type = 'ticket.state'")
    for moment, data in rows:
        event = json.loads(data)
        moves.setdefault(event["ticket_id"], []).append((event["to"], moment))
    for ticket_id, states in moves.items():
        ready = [name for name, _ in states if name != "blocked"]
        if ready != ["ready", "assigned", "running", "completed"]:
            raise RuntimeError(f"{ticket_id} went {' -> '.join(ready)}")
    if moves.keys() != arrived.keys():
        raise RuntimeError(f"{len(moves)} tickets are stored and {len(arrived)} arrived")
    ready_at = {ticket_id: dict(states)["ready"] for ticket_id, states in moves.items()}
    return {ticket_id: (moment + offset - ready_at[ticket_id]) * 1e3 for ticket_id, moment in arrived.items()}


def measured(n: int, dsn: str) -> Outcome:
    with control_plane(HOSTS) as control:
        offset = clock()
        asyncio.run(wait_until_ready(control))
        with fleet(control, HOSTS) as hosts:
            outcome = uvloop.run(drive(control, hosts, n, dsn))
            arrived = hosts.stop()
        for ticket_id, waited_ms in latencies(control, arrived, offset).items():
            (outcome.paced_ms if ticket_id in outcome.answered else outcome.latencies_ms).append(waited_ms)
        outcome.answered_ms = [(arrived[ident] - moment) * 1e3 for ident, moment in outcome.answered.items()]
        return outcome


def run(n: int) -> list[Row]:
    """A round is 660 tickets."""
    if reason := missing():
        return rows(measured(n, ""), reason)
    with cluster() as dsn:
        return rows(measured(n, dsn), "")


def rows(outcome: Outcome, reason: str) -> list[Row]:
    """`reason` is why there is no peer."""
    stretches, tickets = outcome.stretches, len(outcome.latencies_ms)
    each = tickets / len(stretches)
    first, last = stretches[0].resident_mib, stretches[-1].resident_mib
    rate = tickets / sum(stretch.seconds for stretch in stretches)
    peer = figures(outcome.peer_ms) if outcome.peer_ms else None
    peer_latency = figures(outcome.peer_latencies_ms) if outcome.peer_latencies_ms else None
    against = f" against {1e3 / peer.p50:,.0f}/s" if peer else f"; no peer: {reason}"
    return [
        Row(
            "time per ticket",
            "ms",
            figures([stretch.seconds * 1e3 / each for stretch in stretches]),
            NAME_OF_PEER,
            peer,
            goal="<= 1 ms (1,000/s), >= 5x",
            note=f"{tickets:,} tickets at {rate:,.0f}/s{against}",
        ),
        Row("ready to the host's stream, all at work", "ms", figures(outcome.latencies_ms), NAME_OF_PEER, peer_latency),
        Row(
            "ready to the host's stream, open loop",
            "ms",
            figures(outcome.paced_ms),
            goal="p99 < 10 ms",
            note=f"{PACED:.0f} tickets/s, one at a time; the commit that makes it ready is in it",
        ),
        Row(
            "filer's answer to the host's stream, open loop",
            "ms",
            figures(outcome.answered_ms),
            note="the same tickets, from when that commit was known",
        ),
        Row(
            "control plane's CPU per ticket",
            "ms",
            figures([stretch.cpu_ms / each for stretch in stretches]),
        ),
        Row(
            "control plane's memory",
            "MiB",
            figures([stretch.resident_mib for stretch in stretches]),
            goal="last quarter within 10 % of the first",
            note=f"{first:.1f} then {last:.1f}, {(last / first - 1) * 100:+.1f} %",
        ),
    ]
