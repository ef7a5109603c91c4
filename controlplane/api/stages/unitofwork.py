"""Idempotency, audit and the handler as one commit, or as little apart as the outside allows."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from google.protobuf.message import Message

from controlplane.api.bindings import Action, Command, Query
from controlplane.api.methods import Method
from controlplane.domain.call import Call
from controlplane.errors import Conflict, InvalidInput, SwarmError
from controlplane.failpoint import hit
from controlplane.ports import Reader, Tx
from controlplane.usecases.services import Services

HEADER: Final = "idempotency-key"
LONGEST_KEY: Final = 255
_KEY: Final = re.compile(f"[!-~]{{1,{LONGEST_KEY}}}")
CLOSE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Job:
    """A call that is about to be worked on: `key` is empty where the method or the caller has none."""

    method: Method
    call: Call
    request: Message
    key: str

    @property
    def digest(self) -> str:
        """What tells this request from another that came with the same key."""
        body = self.request.SerializeToString(deterministic=True)
        return hashlib.sha256(self.method.name.encode() + b"\0" + body).hexdigest()


def key_of(method: Method, metadata: Mapping[str, str]) -> str:
    """The caller's idempotency key, where the method honours one."""
    key = metadata.get(HEADER)
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidInput(f"an idempotency key is 1 to {LONGEST_KEY} visible ASCII characters", reason="bad_key")
    return key if key and method.idempotent else ""


class UnitOfWork:
    """Runs handlers against the store."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._running: dict[tuple[str, str], tuple[str, asyncio.Task[Message]]] = {}

    async def run(self, binding: Query | Command | Action, job: Job) -> Message:
        if isinstance(binding, Query):
            return await self._services.store.read(lambda reader: binding.run(reader, job.call, job.request))
        if isinstance(binding, Command):
            if binding.before is not None:
                await binding.before(self._services, job.call, job.request)
            answer = await self._services.store.write(lambda tx: self._command(tx, binding, job))
            hit("after_commit_before_reply")
            if binding.after is not None:
                await binding.after()
            return answer
        if binding.keyed:
            return await binding.run(self._services, replace(job.call, key=job.key), job.request)
        return await self._join(binding, job)

    async def audit(self, job: Job, outcome: str) -> None:
        """One audit row of its own, for what is not a command."""
        if job.method.audit:
            await self._services.store.write(lambda tx: add_audit(tx, job, outcome))

    def _command(self, tx: Tx, binding: Command, job: Job) -> Message:
        if (answer := replayed(tx, job)) is not None:
            return answer
        response = binding.run(tx, job.call, job.request)
        add_audit(tx, job, "ok", response)
        remember(tx, job, response)
        return response

    async def _join(self, binding: Action, job: Job) -> Message:
        """Runs an action to its end even when its caller goes; the same key joins the one that runs."""
        if not job.key:
            return await self._action(binding, job)
        name = (job.call.principal.name, job.key)
        if name not in self._running:
            task = asyncio.create_task(self._action(binding, job))
            self._running[name] = (job.digest, task)
            task.add_done_callback(lambda done: self._ended(name, done))
        digest, task = self._running[name]
        if digest != job.digest:
            raise key_reused()
        return await asyncio.shield(task)

    async def _action(self, binding: Action, job: Job) -> Message:
        store = self._services.store
        if job.key and (answer := await store.read(lambda reader: replayed(reader, job))) is not None:
            return answer
        await self.audit(job, "started")
        try:
            response = await binding.run(self._services, job.call, job.request)
        except SwarmError as error:
            await self.audit(job, error.reason)
            raise
        if job.method.audit or job.key:
            await store.write(lambda tx: self._finish(tx, job, response))
        return response

    def _finish(self, tx: Tx, job: Job, response: Message) -> None:
        add_audit(tx, job, "ok", response)
        remember(tx, job, response)

    def _ended(self, name: tuple[str, str], task: asyncio.Task[Message]) -> None:
        self._running.pop(name, None)
        if not task.cancelled():
            task.exception()  # seen, even when every caller has gone

    async def close(self) -> None:
        """Gives the actions that run a little time, then stops them; a repetition finds out how far they came."""
        tasks = [task for _, task in self._running.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def replayed(reader: Reader, job: Job) -> Message | None:
    """The answer that the same request got before under its key; another request under the key is a `Conflict`."""
    if not job.key:
        return None
    seen = reader.replay(job.call.principal.name, job.key)
    if seen is None:
        return None
    digest, answer = seen
    if digest != job.digest:
        raise key_reused()
    return job.method.response.FromString(answer)


def key_reused() -> Conflict:
    return Conflict("this idempotency key came with another request before", reason="idempotency_key_reused")


def remember(tx: Tx, job: Job, response: Message) -> None:
    """Keeps the answer for a repetition of the request."""
    if job.key:
        answer = response.SerializeToString(deterministic=True)
        tx.remember(job.call.principal.name, job.key, job.digest, answer, job.call.now)


def add_audit(tx: Tx, job: Job, outcome: str, response: Message | None = None) -> None:
    """The audit row that the policy asks for; it names the target and its changed fields, never the content."""
    if not job.method.audit:
        return
    data: dict[str, Any] = {"outcome": outcome, "method": job.method.name}
    fields = job.request.DESCRIPTOR.fields_by_name
    data |= {name: getattr(job.request, name) for name in ("id", "vm_id", "host_id", "digest") if name in fields}
    if "ids" in fields:
        data["ids"] = list(job.request.ids)  # type: ignore[attr-defined]  # of whatever message has the field
    if "update_mask" in fields:
        data["fields"] = list(job.request.update_mask.paths)  # type: ignore[attr-defined]  # as above
    if response is not None and not {"id", "ids"} & data.keys():
        data |= _made(response)
    who = job.call.principal
    tenant_id = "" if who.host_id else who.tenant_id
    tx.add_audit(
        job.method.audit, who.name, job.call.request_id, data, job.call.now, tenant_id=tenant_id, user_id=who.user_id
    )


def _made(response: Message) -> dict[str, Any]:
    """What the call has made has no id in the request: the answer is the first to name it."""
    for field, value in response.ListFields():
        if field.message_type is not None and "id" in field.message_type.fields_by_name:
            return {"ids": [each.id for each in value]} if field.is_repeated else {"id": value.id}
    return {}
