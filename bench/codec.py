"""A ticket, and a page of a hundred, to JSON and back: our codecs and google.protobuf.json_format."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf import json_format
from google.protobuf.message import Message

from bench.measure import Row, clocked, in_turns
from swarm.http.codecs import CODECS
from swarm.ticket.v1.service_pb2 import ListTicketsResponse
from swarm.ticket.v1.ticket_pb2 import (
    ATTEMPT_STATE_RUNNING,
    BOOT_TIER_T0,
    TICKET_STATE_RUNNING,
    TICKET_TYPE_FEATURE,
    Ticket,
)

NAME = "codec"
SUMMARY = "a ticket and a page of 100 tickets to JSON and back: our codecs, json_format"

PAGE = 100
MANY = 100
"""Single tickets in one sample: one takes less than what a clock adds."""
_PEER = "json_format"
_GOAL = ">= 10x"


def ticket(number: int) -> Ticket:
    """One that runs: about as much text as people write, and an attempt."""
    made = Ticket(
        id=f"tk_{number:026}",
        key=f"TKT-{number:03}",
        tenant_id="default",
        state=TICKET_STATE_RUNNING,
        fence=number,
        attempts=1,
        last_log="collected 214 items, 3 failed",
    )
    spec = made.spec
    spec.type, spec.priority = TICKET_TYPE_FEATURE, 3
    spec.title = "Let readers search the shelf by author"
    spec.description = (
        "The search box takes a name and shows what fits, “best first”.\nIt does so while one types. " * 6
    )
    spec.acceptance_criteria.extend(["Accents do not matter", "An empty search shows all", "It answers within 50 ms"])
    spec.tags.extend(["search", "frontend"])
    spec.depends_on.extend([f"TKT-{number - 2:03}", f"TKT-{number - 1:03}"])
    spec.project_id, spec.agent = "pj_00000000000000000000000001", "claude@1.2.0"
    spec.input.update({"model": "best", "turns": 40, "paths": ["src", "tests"]})
    spec.resources.vcpus, spec.resources.memory_mib = 2, 2048
    spec.resources.labels.update({"zone": "a", "disk": "nvme"})
    spec.timeout.FromSeconds(3600)
    attempt = made.current_attempt
    attempt.id, attempt.ticket_id, attempt.number = f"at_{number:026}", made.id, 1
    attempt.host_id, attempt.vm_id, attempt.state = "hs_01", "vm_01", ATTEMPT_STATE_RUNNING
    attempt.branch = f"swarm/{made.key}/1"
    attempt.boot.tier, attempt.boot.boot_us, attempt.boot.ready_us = BOOT_TIER_T0, 480, 52_500
    for time in (made.created_at, made.updated_at, attempt.assigned_at, attempt.started_at):
        time.FromNanoseconds(1_764_190_800_123_456_789 + number)
    return made


def rows_for(what: str, message: Message, repeat: int, n: int) -> Iterator[Row]:
    """Both ways. The peer prints what we print, so that both do the same work."""
    codec, kind = CODECS[type(message)], type(message)
    body = codec.encode(message)

    def peer_encode() -> object:
        return json_format.MessageToJson(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None
        ).encode()

    ways = {
        "encode": (lambda: codec.encode(message), peer_encode),
        "decode": (lambda: codec.decode(body), lambda: json_format.Parse(body, kind())),
    }
    for way, (ours, theirs) in ways.items():

        def timed(work: object, times: int = repeat) -> float:
            assert callable(work)
            return clocked(lambda: [work() for _ in range(times)], per_second=1e6) / times

        mine, peer = in_turns(n, lambda ours=ours: timed(ours), lambda theirs=theirs: timed(theirs))  # type: ignore[misc]
        yield Row(f"{way} {what}", "us", mine, _PEER, peer, _GOAL, f"{len(body)} bytes")


def run(n: int) -> list[Row]:
    page = ListTicketsResponse(tickets=[ticket(number) for number in range(PAGE)])
    return [*rows_for("a ticket", ticket(7), MANY, n), *rows_for(f"{PAGE} tickets", page, 1, n)]
