"""People and programs: they file, watch, answer, merge, cancel and retry, and their calls and answers get lost."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from controlplane.errors import SwarmError, Unavailable
from swarm.coordinator.v1 import service_pb2 as coordinator
from swarm.fleet.v1 import service_pb2 as fleet
from swarm.pullrequest.v1 import service_pb2 as pull
from swarm.ticket.v1 import service_pb2 as ticket
from swarm.ticket.v1 import ticket_pb2

if TYPE_CHECKING:
    from tests.sim.world import World

M = TypeVar("M", bound=Message)

TIMEOUT_S = 10.0
# What a client tries again: it cannot know whether it had an effect.
UNSURE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})


class Clients:
    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = random.Random(f"{world.seed} clients")
        self.keys: list[str] = []
        self.busy = 0
        self._filing: asyncio.Task[None] | None = None
        self._watchers: list[asyncio.Task[None]] = []
        self._stopped = False
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._filing = self._begin(self._file())
        self._begin(self._meddle())
        self._begin(self._operate())

    async def filed(self) -> None:
        assert self._filing is not None
        await self._filing

    async def finish(self) -> None:
        """Watchers read on to the end of what there is."""
        self._stopped = True
        await asyncio.gather(*self._watchers)

    def forget(self) -> None:
        """Nobody builds on tickets that a restore may have lost."""
        self.keys.clear()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Clients are no part of the process that tells them something."""
        task = asyncio.get_running_loop().create_task(work, context=self.world.outside)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _going_on(self) -> bool:
        return self.world.faulty

    # One call

    async def _call(self, name: str, request: Message, key: str = "") -> Message:
        """Once; an `Unavailable` may have had its effect or not."""
        await asyncio.sleep(self.chance.uniform(0.001, 0.05))
        if self.world.happens(self.world.faults.lost_call):
            raise Unavailable("the request got lost")
        answer = self.world.control.call(name, request, key)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                result = await answer
        except TimeoutError:
            raise Unavailable("no answer") from None
        if self.world.happens(self.world.faults.lost_call):
            raise Unavailable("the answer got lost")
        return result

    async def _until_sure(self, name: str, request: M, key: str) -> Message | SwarmError:
        """Again under the same key, until there is an answer."""
        self.busy += 1
        note = self.world.history.note
        try:
            while True:
                note("client.call", name=name.rpartition(".")[2], key=key, body=_digest(request))
                try:
                    answer = await self._call(name, request, key)
                except SwarmError as error:
                    note("client.error", key=key, code=error.code, reason=error.reason)
                    if error.code not in UNSURE:
                        return error
                    await asyncio.sleep(self.chance.uniform(0.5, 4.0))
                else:
                    note("client.answer", key=key, answer=_digest(answer))
                    return answer
        finally:
            self.busy -= 1

    # Filing

    async def _file(self) -> None:
        scenario = self.world.scenario
        share = -(-scenario.tickets // scenario.batches)
        for batch in range(scenario.batches):
            await self._batch(batch, min(share, scenario.tickets - batch * share))
            await asyncio.sleep(self.chance.uniform(0, scenario.filing_s))

    async def _batch(self, batch: int, count: int) -> None:
        if count <= 0:
            return
        key, request = f"file-{batch}", self._request(batch, count)
        name = "swarm.ticket.v1.TicketService.CreateTickets"
        answer = await self._until_sure(name, request, key)
        if isinstance(answer, SwarmError):
            return
        created = cast("ticket.CreateTicketsResponse", answer).tickets
        plain = [one for one in created if one.spec.type != ticket_pb2.TICKET_TYPE_EPIC]
        self.world.history.note("client.created", key=key, tickets=[one.id for one in created])
        self.keys += [one.key for one in plain]
        if self.chance.random() < 0.5:
            await self._until_sure(name, request, key)  # a repetition, and then a mistake under the same key
            await self._until_sure(name, self._request(batch, 1), key)
        watching = len(self._watchers) < self.world.scenario.watchers
        if watching and plain:
            self._watchers.append(self._begin(self._watch(self.chance.choice(plain).id)))

    def _request(self, batch: int, count: int) -> ticket.CreateTicketsRequest:
        """An epic and its children, which depend on each other and on earlier tickets."""
        epic = ticket_pb2.TicketSpec(
            title=f"epic {batch}", type=ticket_pb2.TICKET_TYPE_EPIC, project_id="pj_0", ref="epic"
        )
        children = [self._child(batch, number) for number in range(count)]
        return ticket.CreateTicketsRequest(specs=[epic, *children])

    def _child(self, batch: int, number: int) -> ticket_pb2.TicketSpec:
        chance = self.chance
        earlier = [f"r{other}" for other in range(max(0, number - 5), number)] if batch == 0 else []
        known = self.keys[-1000:] + earlier
        needs = chance.sample(known, min(len(known), chance.choice([0, 0, 1, 1, 2])))
        poison = chance.random() < self.world.scenario.poison
        return ticket_pb2.TicketSpec(
            title=f"{'poison' if poison else 'work'} {batch}.{number}",
            type=ticket_pb2.TICKET_TYPE_TASK,
            priority=chance.randrange(3),
            project_id=f"pj_{chance.randrange(2)}",
            parent_id="epic" if chance.random() < 0.7 else "",
            depends_on=sorted(needs),
            ref=f"r{number}",
        )

    # What moves of tickets set off

    def moved(self, what: dict[str, Any]) -> None:
        if what["to"] == "waiting":
            self._begin(self._answer(what["key"], what["attempt"]))
        if what.get("pull_request") and what["to"] == "in_review":
            self._begin(self._review(what["key"], what["pull_request"], what["fence"]))

    async def _answer(self, key: str, attempt: str) -> None:
        await asyncio.sleep(self.chance.uniform(0.1, 20))
        request = ticket.AnswerQuestionRequest(id=key, answer="the left one")
        await self._until_sure("swarm.ticket.v1.TicketService.AnswerQuestion", request, f"answer-{attempt}")

    async def _review(self, key: str, pull_request: str, fence: int) -> None:
        dice = self.chance.random()
        await asyncio.sleep(self.chance.uniform(1, 30))
        service = "swarm.pullrequest.v1.PullRequestService"
        if dice < 0.5:
            merge = pull.MergePullRequestRequest(id=pull_request)
            await self._until_sure(f"{service}.MergePullRequest", merge, f"merge-{key}-{fence}")
        elif dice < 0.55:
            close = pull.ClosePullRequestRequest(id=pull_request)
            await self._until_sure(f"{service}.ClosePullRequest", close, f"close-{key}-{fence}")

    async def _meddle(self) -> None:
        """Cancels here, retries there."""
        mean = self.world.faults.meddling_s
        while mean and self._going_on():
            await asyncio.sleep(self.chance.expovariate(1 / mean))
            if not self.keys or not self._going_on():
                continue
            ident, number = self.chance.choice(self.keys), self.world.number()
            if self.chance.random() < 0.4:
                cancel = ticket.CancelTicketRequest(id=ident, reason="a person")
                await self._until_sure("swarm.ticket.v1.TicketService.CancelTicket", cancel, f"cancel-{number}")
            else:
                retry = ticket.RetryTicketRequest(id=ident)
                await self._until_sure("swarm.ticket.v1.TicketService.RetryTicket", retry, f"retry-{number}")

    # Operators

    async def _operate(self) -> None:
        mean = self.world.faults.operator_s
        while mean and self._going_on():
            await asyncio.sleep(self.chance.expovariate(1 / mean))
            if not self._going_on():
                return
            if self.chance.random() < 0.3:
                await self._pause_coordinator()
            else:
                await self._take_out()

    async def _pause_coordinator(self) -> None:
        service, note, number = "swarm.coordinator.v1.CoordinatorService", self.world.history.note, self.world.number()
        await self._until_sure(f"{service}.Stop", coordinator.StopRequest(), f"stop-{number}")
        note("operator.stopped")
        await asyncio.sleep(self.chance.uniform(1, 30))
        note("operator.starts")
        await self._until_sure(f"{service}.Start", coordinator.StartRequest(), f"start-{number}")

    async def _take_out(self) -> None:
        """Cordons or drains a host, and puts it back."""
        service, note, number = "swarm.fleet.v1.FleetService", self.world.history.note, self.world.number()
        host = self.chance.choice(list(self.world.machines))
        deadline = self.chance.choice([None, 5, 30])
        request: Message = fleet.CordonHostRequest(id=host)
        name = "CordonHost"
        if deadline is not None:
            request, name = fleet.DrainHostRequest(id=host, deadline=Duration(seconds=deadline)), "DrainHost"
        answer = await self._until_sure(f"{service}.{name}", request, f"out-{number}")
        if isinstance(answer, SwarmError):
            return
        note("operator.out", host=host, deadline=deadline)
        await asyncio.sleep(self.chance.uniform(5, 60))
        note("operator.back", host=host)
        await self._until_sure(f"{service}.UncordonHost", fleet.UncordonHostRequest(id=host), f"back-{number}")

    # Watching

    async def _watch(self, ident: str) -> None:
        """Reads a ticket's events over streams that break, each going on where the last one ended."""
        cursor, over = 0, False
        while not over:
            last = self._stopped
            stream, sink = self._open(ident, cursor)
            if stream is None:
                await asyncio.sleep(1.0)
                continue
            until = math.inf if last else self.world.loop.now + self.chance.uniform(1, 60)
            cursor, over = await self._read(ident, cursor, sink, until)
            stream.cancel()

    async def _read(
        self, ident: str, cursor: int, sink: asyncio.Queue[Message | SwarmError], until: float
    ) -> tuple[int, bool]:
        """The cursor after one stream, and whether it is the last one and has nothing more to say."""
        last = until == math.inf
        while last or (not self._stopped and self.world.loop.now < until):
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    item = await sink.get()
            except TimeoutError:
                if last:
                    return cursor, True
                continue
            if isinstance(item, SwarmError):
                await asyncio.sleep(1.0)
                return cursor, False
            for event in cast("ticket.WatchTicketResponse", item).events:
                cursor = event.seq
                self.world.history.note("client.event", ticket=ident, seq=event.seq, type=event.type)
        return cursor, False

    def _open(self, ident: str, cursor: int) -> tuple[asyncio.Task[Any] | None, asyncio.Queue[Message | SwarmError]]:
        sink: asyncio.Queue[Message | SwarmError] = asyncio.Queue()
        if not self.world.control.up:
            return None, sink
        request = ticket.WatchTicketRequest(id=ident, cursor=cursor)
        return self.world.control.watch("swarm.ticket.v1.TicketService.WatchTicket", request, sink), sink


def _digest(message: Message) -> str:
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()[:16]
