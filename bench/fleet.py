"""Hosts of a bench as one process of their own: `hostd`'s link and lease code over runners that take no time.

`python -m bench.fleet SOCKET TOKENS ARRIVALS [--hold]` prints how many attempts it ended, once per change, until its
standard input ends; then it writes `ARRIVALS`: a JSON object of ticket id -> seconds on CLOCK_BOOTTIME at which the
assignment came out of the host's stream. With `--hold` attempts run until they are taken away.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import uvloop

from hostd import ids
from hostd import messages as m
from hostd.lease import LeaseKeeper
from hostd.link.channel import Endpoint
from hostd.link.client import Link
from hostd.ports import BootTiming, Isolation, Tier
from swarm.guest.v1 import guest_pb2

VMS = 20
SIZE = m.Capacity(VMS, VMS, VMS * 1024, VMS * 16 * 1024)
BOOT = BootTiming(Tier.T0, 500, 50_000, 250_000)
SUCCEEDED = guest_pb2.Outcome(status="succeeded", summary="done").SerializeToString()
TOLD_S = 0.02


class Tally:
    """What all hosts of this process together have seen."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}
        self.ended = 0


class Host:
    """Implements `hostd.link.client.LinkHandler` and `hostd.lease.Fenced`: everything of a host but its VMs."""

    def __init__(self, name: str, token: str, socket: Path, tally: Tally, *, hold: bool) -> None:
        self.link = Link(Endpoint(f"unix:{socket}", token))
        self._name = name
        self._tally = tally
        self._hold = hold
        self._boot_id = ids.new("boot")
        self._running: dict[str, m.AttemptRef] = {}
        self._keeper = LeaseKeeper(self, self.link.send, self.link.reconnect)
        self._renewing = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.link.run(self))
            tasks.create_task(self._keeper.run())

    # LinkHandler

    def hello(self) -> m.Hello:
        return m.Hello(
            name=self._name,
            version="bench",
            boot_id=self._boot_id,
            capacity=SIZE,
            drivers=("sim",),
            isolation=Isolation.SIM,
            labels={},
            warnings=(),
            attempts=self.refs(),
            images=("default",),
        )

    def connected(self, welcome: m.Welcome) -> None:
        self._keeper.connected(welcome.renew_every_s, welcome.self_fence_s)

    def disconnected(self) -> None:
        self._keeper.disconnected()

    def handle(self, event: m.ControlEvent) -> None:
        if isinstance(event, m.Assignment):
            self._tally.arrived[event.attempt.ticket_id] = time.clock_gettime(time.CLOCK_BOOTTIME)
            self._take(event.attempt)
        elif isinstance(event, m.Renewed):
            asyncio.ensure_future(self._keeper.take(event))  # noqa: RUF006 - ends by itself at once
        elif isinstance(event, m.Revoke):
            self._running.pop(event.attempt.attempt_id, None)

    def _take(self, ref: m.AttemptRef) -> None:
        self.link.send(m.Started(ref, f"vm_{ref.attempt_id}", BOOT))
        self.link.send(m.Running(ref, BOOT))
        if self._hold:
            self._running[ref.attempt_id] = ref
        else:
            self.link.send(m.Finished(ref, SUCCEEDED), self._ended)
        if not self._renewing:  # as hostd does, once for all that arrived together
            self._renewing = True
            asyncio.get_running_loop().call_soon(self._renew)

    def _ended(self) -> None:
        self._tally.ended += 1

    def _renew(self) -> None:
        self._renewing = False
        self._keeper.renew()

    # Fenced

    def refs(self) -> tuple[m.AttemptRef, ...]:
        return tuple(self._running.values())

    async def fence(self) -> None:
        """Nothing runs here that could be paused."""

    async def unfence(self) -> None:
        """See `fence`."""

    async def destroy(self, ref: m.AttemptRef, reason: str) -> None:  # noqa: ARG002 - the protocol's
        self._running.pop(ref.attempt_id, None)


async def told(tally: Tally) -> None:
    seen = -1
    while True:
        if tally.ended != seen:
            seen = tally.ended
            sys.stdout.write(f"{seen}\n")
            sys.stdout.flush()
        await asyncio.sleep(TOLD_S)


async def until_stdin_ends() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


def doors(socket: Path, names: Sequence[str], folder: Path) -> dict[str, Path]:
    """One path to the socket per host: gRPC would share one connection among channels to the same address."""
    found = {}
    for name in names:
        door = found[name] = folder / f"{name}.sock"
        door.symlink_to(socket)
    return found


async def serve(socket: Path, tokens: Mapping[str, str], arrivals: Path, *, hold: bool) -> None:
    tally = Tally()
    paths = doors(socket, list(tokens), arrivals.parent)
    hosts = [Host(name, token, paths[name], tally, hold=hold) for name, token in tokens.items()]
    work = [asyncio.ensure_future(host.run()) for host in hosts]
    work.append(asyncio.ensure_future(told(tally)))
    await until_stdin_ends()
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    for host in hosts:
        await host.link.close()
    arrivals.write_text(json.dumps(tally.arrived))  # noqa: ASYNC240  # the run is over


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet")
    parser.add_argument("socket", type=Path)
    parser.add_argument("tokens", type=Path, help="JSON object: host name -> token")
    parser.add_argument("arrivals", type=Path)
    parser.add_argument("--hold", action="store_true")
    chosen = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    tokens = json.loads(chosen.tokens.read_text())
    uvloop.run(serve(chosen.socket, tokens, chosen.arrivals, hold=chosen.hold))


if __name__ == "__main__":
    main(sys.argv[1:])
