"""One host under one boot id: what outlives its connections."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from controlplane import metrics
from controlplane.domain.image import Image, Template
from controlplane.domain.vm import Vm, VmSample
from controlplane.fleet.outbound import Outbound
from swarm.hostlink.v1 import hostlink_pb2 as pb

KEPT_SAMPLES: Final = 720
KEPT_DIGESTS: Final = 4096


class Peer:
    """`position` is the highest number of the host that was committed; `ready` wakes whoever sends to it."""

    def __init__(self, host_id: str, name: str, boot_id: str, outbound: Outbound) -> None:
        self.host_id = host_id
        self.name = name
        self.counted = metrics.HOST_EVENTS.labels(name)  # looked up once: a busy host says thousands of things
        self.boot_id = boot_id
        self.outbound = outbound
        self.position = 0
        self.ready = asyncio.Event()
        self.images: Sequence[Image] = ()
        self.templates: Sequence[Template] = ()
        self._digests: dict[str, None] = {}
        self._samples: dict[str, deque[VmSample]] = {}

    def tell(self, event: pb.ControlEvent) -> None:
        """Queues something for the host; it arrives once, sooner or later, unless the host starts anew."""
        self.outbound.put(event)
        self.ready.set()

    def allow(self, digest: str) -> None:
        """The host was given an assignment that names this bundle."""
        self._digests.pop(digest, None)
        self._digests[digest] = None
        while len(self._digests) > KEPT_DIGESTS:
            del self._digests[next(iter(self._digests))]

    def allowed(self, digest: str) -> bool:
        return digest in self._digests

    def observe(self, vms: Sequence[Vm]) -> None:
        """Keeps the samples of the VMs that are named, and forgets the other VMs."""
        kept = {}
        for vm in vms:
            samples = self._samples.get(vm.id) or deque(maxlen=KEPT_SAMPLES)
            if vm.sample is not None and (not samples or vm.sample.time > samples[-1].time):
                samples.append(vm.sample)
            kept[vm.id] = samples
        self._samples = kept

    def samples(self, vm_id: str) -> list[VmSample]:
        return list(self._samples.get(vm_id, ()))
