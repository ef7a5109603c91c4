"""What runs now."""

from __future__ import annotations

from controlplane.api.convert.common import enum_out, timestamp
from controlplane.domain.event import Event
from controlplane.domain.live import LiveAgent
from swarm.agent.v1 import agent_pb2 as pb


def live_out(agent: LiveAgent) -> pb.LiveAgent:
    ticket, attempt = agent.ticket, agent.attempt
    return pb.LiveAgent(
        id=attempt.id,
        ticket_id=ticket.id,
        ticket_key=ticket.key,
        title=ticket.spec.title,
        project_id=ticket.spec.project_id,
        agent=agent.agent,
        state=enum_out(pb.AgentState, "AGENT_STATE", agent.state),
        host_id=ticket.host_id,
        host_name=agent.host_name,
        vm_id=attempt.vm_id,
        attempt=attempt.number,
        assigned_at=timestamp(attempt.assigned_at),
        started_at=timestamp(attempt.started_at),
        progress=agent.progress,
        last_log=ticket.last_log,
        question=ticket.question,
        last_activity_at=timestamp(agent.last_activity_at),
    )


def line_out(event: Event) -> pb.LogLine:
    return pb.LogLine(seq=event.seq, time=timestamp(event.time), text=str(event.data.get("text", "")))
