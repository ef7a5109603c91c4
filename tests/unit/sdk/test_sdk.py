from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

from controlplane import errors as server
from controlplane.api.status import status_of
from swarm_sdk import (
    BootTier,
    BootTiming,
    Client,
    FieldViolation,
    NotFoundError,
    SwarmError,
    Ticket,
    UnauthenticatedError,
    UnavailableError,
    name_of,
    tier_of,
    to_json,
)
from swarm_sdk.errors import BY_CODE, from_rpc
from swarm_sdk.paging import PAGE, Paged
from swarm_sdk.transport import LONGEST_PAUSE_S, pause_before


def failure(code: grpc.StatusCode, details: bytes | None = None, words: str = "words") -> grpc.aio.AioRpcError:
    trailers = grpc.aio.Metadata(*([("grpc-status-details-bin", details)] if details is not None else []))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, details=words)


def classes(root: type[server.SwarmError] = server.SwarmError) -> list[type[server.SwarmError]]:
    return [root, *(each for child in root.__subclasses__() for each in classes(child))]


@pytest.mark.parametrize("kind", classes())
def test_every_error_of_the_server_arrives_with_all_it_says(kind: type[server.SwarmError]) -> None:
    said = kind("no", reason="why", violations=(server.Violation("/a", "bad"),), retry_after_s=1.5)
    status = status_of(said, "rq_1").SerializeToString()
    got = from_rpc(failure(grpc.StatusCode[kind.code], status))
    assert type(got) is BY_CODE[kind.code]
    assert (got.message, got.reason, got.request_id, got.retry_after_s) == ("no", "why", "rq_1", 1.5)
    assert got.violations == (FieldViolation("/a", "bad"),)
    if kind is not server.StartError:
        assert got.exit_code == kind.exit_code


@pytest.mark.parametrize("details", [None, b"", b"\xff\xff"])
def test_errors_without_details_still_say_something(details: bytes | None) -> None:
    got = from_rpc(failure(grpc.StatusCode.NOT_FOUND, details))
    assert type(got) is NotFoundError
    assert got.message == "words"


def test_a_transport_that_fails_names_the_control_plane() -> None:
    assert "control plane cannot be reached" in str(from_rpc(failure(grpc.StatusCode.UNAVAILABLE)))


def test_details_of_others_do_no_harm() -> None:
    other = Any()
    other.Pack(error_details_pb2.QuotaFailure())
    status = status_pb2.Status(code=5, message="m", details=[other])
    assert from_rpc(failure(grpc.StatusCode.NOT_FOUND, status.SerializeToString())).reason == ""


def test_pauses_grow_and_follow_the_server() -> None:
    assert all(0 < pause_before(number) <= LONGEST_PAUSE_S for number in range(20))
    assert all(0.7 <= pause_before(0, UnavailableError("x", retry_after_s=0.7)) < 0.8 for _ in range(20))


@pytest.mark.parametrize(("limit", "count"), [(0, 7), (3, 3), (4, 4), (100, 7)])
async def test_lists_are_read_to_their_end_or_limit(limit: int, count: int) -> None:
    items = list(range(7))

    async def page(token: str, size: int) -> tuple[Sequence[int], str]:
        start = int(token or 0)
        end = min(start + min(size, 2), len(items))
        return items[start:end], str(end) if end < len(items) else ""

    assert await Paged(page, limit) == items[:count]
    assert [item async for item in Paged(page, limit)] == items[:count]


async def test_a_list_that_is_iterated_asks_only_for_what_is_read() -> None:
    asked: list[tuple[str, int]] = []

    async def page(token: str, size: int) -> tuple[Sequence[int], str]:
        asked.append((token, size))
        return range(3), f"{len(asked)}"

    async for item in Paged(page):
        if item == 2:
            break
    assert asked == [("", PAGE)]


def test_names_are_short_and_unknown_values_are_numbers() -> None:
    assert name_of(Ticket(state=7), "state") == "in_review"  # type: ignore[arg-type]
    assert name_of(Ticket(), "state") == ""
    assert name_of(Ticket.FromString(b"\x28\x63"), "state") == "99"
    assert [tier_of(BootTiming(tier=tier)) for tier in BootTier.values()] == ["", "T0", "T1", "T1s", "T2"]


def test_json_shows_every_scalar() -> None:
    shown = json.loads(to_json(Ticket(id="tk_1")))
    assert shown["id"] == "tk_1"
    assert shown["dead_letter"] is False
    assert "state_reason" in shown


def test_a_missing_or_empty_token_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnauthenticatedError, match="is the control plane running"):
        Client.open(tmp_path)
    (tmp_path / "admin.token").write_text("\n")
    with pytest.raises(UnauthenticatedError, match="is empty"):
        Client.open(tmp_path)


async def test_an_absent_control_plane_is_unavailable(tmp_path: Path) -> None:
    async with Client(f"unix:{tmp_path}/none.sock", "token", retries=1) as client:
        assert not await client.ready(0.1)
        with pytest.raises(SwarmError) as failed:
            await client.tickets.list()
        assert failed.value.exit_code == 6
