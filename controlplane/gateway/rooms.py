"""What sockets subscribe to: `ticket:ID`, `tenant:ID`, `vm:ID`, `user:ID`. Who may, and what is read there.

A room is read by number: that of a ticket or a tenant from the table of events, without gap or repetition. That of a VM
has states and no history: its last state only, with a number that grows.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from google.protobuf.json_format import MessageToDict

from controlplane.api.convert.vm import vm_out
from controlplane.domain.call import Call, Role
from controlplane.domain.notification import topic_of
from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.domain.vm import shown
from controlplane.errors import Forbidden, NotFound
from controlplane.gateway import frames
from controlplane.gateway.events import VM, frame_of, moment
from controlplane.gateway.frames import Frame
from controlplane.ports import Reader
from controlplane.usecases import tickets, vms

BATCH: Final = 256
LONGEST_NAME: Final = 100
VMS_TOPIC: Final = "vms"


class Source(ABC):
    """What a room is read from. `topic` is where the bus says that there is something new."""

    def __init__(self, name: str, topic: str) -> None:
        self.name = name
        self.topic = topic

    @abstractmethod
    def newest(self, reader: Reader, /) -> int:
        """Number of the last frame; 0: there is none."""

    @abstractmethod
    def read(self, reader: Reader, after: int) -> tuple[Sequence[Frame], int]:
        """The next frames, and the number that was looked up to: more may follow while that grows."""


class TopicSource(Source):
    """All that happens to a ticket, or that a user is told: a room of its own topic."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic, topic)

    def newest(self, reader: Reader) -> int:
        return reader.newest_event(self.topic)

    def read(self, reader: Reader, after: int) -> tuple[Sequence[Frame], int]:
        found = reader.events(self.topic, after, BATCH)
        return [frame_of(self.name, event) for event in found], found[-1].seq if found else after


class TenantSource(Source):
    """What happens to the tickets of a tenant. Numbers are those of all tenants: they grow, with gaps."""

    def __init__(self, tenant_id: str) -> None:
        super().__init__(f"tenant:{tenant_id}", TICKETS_TOPIC)
        self._tenant_id = tenant_id

    def newest(self, reader: Reader) -> int:
        return reader.newest_event(self.topic)

    def read(self, reader: Reader, after: int) -> tuple[Sequence[Frame], int]:
        found = reader.events(self.topic, after, BATCH)
        named = {str(event.data.get("ticket_id", "")) for event in found}
        ours = {each.id for each in reader.tickets_by_id(list(named)) if each.tenant_id == self._tenant_id}
        told = [frame_of(self.name, event) for event in found if event.data.get("ticket_id") in ours]
        return told, found[-1].seq if found else after


class VmSource(Source):
    """How a VM is."""

    def __init__(self, vm_id: str, connected: Callable[[], Collection[str]], now: Callable[[], float]) -> None:
        super().__init__(f"vm:{vm_id}", VMS_TOPIC)
        self._vm_id = vm_id
        self._connected = connected
        self._now = now
        self._last: tuple[str, Frame] | None = None

    def newest(self, _reader: Reader) -> int:
        return 0

    def read(self, reader: Reader, after: int) -> tuple[Sequence[Frame], int]:
        vm = reader.vm(self._vm_id)
        if vm is not None:
            self._tell(MessageToDict(vm_out(shown(vm, self._connected())), preserving_proto_field_name=True))
        last = self._last
        if last is None or last[1].seq <= after:
            return [], after
        return [last[1]], last[1].seq

    def _tell(self, state: Any) -> None:
        """Takes a number for a state that differs from the last."""
        said = json.dumps(state, sort_keys=True)
        if self._last is not None and self._last[0] == said:
            return
        now = self._now()
        seq = max(int(now * 1000), self._last[1].seq + 1 if self._last else 1)
        message = {"type": VM, "room": self.name, "seq": seq, "time": moment(now), "event": "vm.state", "data": state}
        self._last = said, Frame(seq, frames.encoded(message))


class Directory:
    """Finds what a name stands for; what is another tenant's is not found."""

    def __init__(self, connected: Callable[[], Collection[str]], now: Callable[[], float]) -> None:
        self._connected = connected
        self._now = now

    def find(self, reader: Reader, call: Call, name: str) -> Source:
        """`NotFound` for what there is not, or not for this caller."""
        if call.principal.role in {Role.PUBLIC, Role.HOST}:
            raise Forbidden(f"{call.principal.name} may not watch rooms")
        kind, _, ident = name[:LONGEST_NAME].partition(":")
        if kind == "ticket" and ident:
            return TopicSource(f"ticket:{tickets.get_ticket(reader, call, ident).id}")
        if kind == "vm" and ident:
            return VmSource(vms.get_vm(reader, call, ident).id, self._connected, self._now)
        if kind == "user" and ident and ident == call.principal.user_id:
            return TopicSource(topic_of(ident))
        if kind == "tenant" and ident == call.principal.tenant_id:
            return TenantSource(ident)
        raise NotFound(f"there is no room {name[:LONGEST_NAME]!r}")
