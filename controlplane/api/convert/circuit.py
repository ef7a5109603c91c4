"""Circuit breakers."""

from __future__ import annotations

from controlplane.api.convert.common import enum_out, timestamp
from controlplane.domain.circuit import SUCCESSES, THRESHOLD, Circuit, rate
from swarm.coordinator.v1 import coordinator_pb2 as pb


def circuit_out(upstream: str, circuit: Circuit, now: float) -> pb.Circuit:
    ended, failed = circuit.within(now)
    return pb.Circuit(
        upstream=upstream,
        state=enum_out(pb.CircuitState, "CIRCUIT_STATE", circuit.state(now)),
        ended=ended,
        failed=failed,
        failure_rate=rate(ended, failed),
        threshold=THRESHOLD,
        opened_at=timestamp(circuit.opened_at),
        retry_at=timestamp(circuit.retry_at),
        successes=circuit.successes,
        successes_needed=SUCCESSES,
    )
