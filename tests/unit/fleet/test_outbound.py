from __future__ import annotations

import pytest

from controlplane.errors import FailedPrecondition, InvalidInput, NotFound, SwarmError
from controlplane.fleet import guest, outbound
from controlplane.fleet.outbound import Outbound
from controlplane.fleet.reports import result_of
from controlplane.fleet.session import in_order
from controlplane.fleet.wire import command_out, error_of
from swarm.guest.v1 import guest_pb2
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2


def revoke(reason: str = "") -> pb.ControlEvent:
    return pb.ControlEvent(revoke=pb.Revoke(reason=reason))


def renewed() -> pb.ControlEvent:
    return pb.ControlEvent(renewed=pb.Renewed(nonce=1))


def test_numbers_go_on_from_what_the_host_has() -> None:
    out = Outbound(acked=41)
    out.put(revoke())
    batch = out.next()
    assert batch is not None
    assert batch.seq == 42
    assert out.next() is None


def test_what_is_not_acknowledged_is_sent_again_in_order() -> None:
    out = Outbound(0)
    for number in range(3):
        out.put(revoke(str(number)))
        out.next()
    out.ack(1)
    assert [(batch.seq, batch.events[0].revoke.reason) for batch in out.kept()] == [(2, "1"), (3, "2")]
    out.ack(99)
    assert out.kept() == ()


def test_answers_to_renewals_are_not_repeated_but_their_numbers_are() -> None:
    out = Outbound(0)
    out.put(renewed())
    out.put(revoke())
    assert out.next() is not None
    assert [(batch.seq, len(batch.events)) for batch in out.kept()] == [(1, 1)]


def test_large_backlogs_are_cut_into_messages() -> None:
    out = Outbound(0)
    for _ in range(5):
        out.put(revoke("x" * 300_000))
    sizes = []
    while (batch := out.next()) is not None:
        sizes.append(len(batch.events))
    assert sizes == [1] * 5


def test_a_host_that_takes_nothing_in_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "KEPT_BYTES", 1000)
    out = Outbound(0)
    for _ in range(20):
        out.put(revoke("x" * 100))
        out.next()
    assert out.choked
    out.ack(20)
    assert not out.choked


def test_what_was_not_sent_can_be_taken_back() -> None:
    out = Outbound(0)
    first, second = revoke("1"), revoke("2")
    out.put(first)
    out.put(second)
    out.withdraw(first)
    batch = out.next()
    assert batch is not None
    assert batch.events == (second,)
    out.withdraw(second)


def messages(*numbers: int) -> list[service_pb2.AttachRequest]:
    return [service_pb2.AttachRequest(seq=number) for number in numbers]


def test_what_was_seen_is_dropped_and_what_is_missing_ends_the_stream() -> None:
    assert [each.seq for each in in_order(3, messages(2, 3, 4, 4, 5))] == [4, 5]
    assert [each.seq for each in in_order(0, messages(7, 8))] == [7, 8]
    with pytest.raises(FailedPrecondition):
        in_order(3, messages(5))
    with pytest.raises(FailedPrecondition):
        in_order(3, messages(4, 6))


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05abc", b"x" * ((1 << 20) + 1)])
def test_bytes_that_no_guest_may_send_are_hostile(data: bytes) -> None:
    with pytest.raises(guest.Hostile):
        guest.events(data)
    with pytest.raises(guest.Hostile):
        guest.outcome(data)


def test_data_of_events_is_bounded_and_json() -> None:
    large = guest_pb2.GuestEvent(type="usage")
    large.data["x"] = "y" * 70_000
    odd = guest_pb2.GuestEvent(type="usage")
    odd.data["x"] = float("nan")
    for event in (large, odd):
        with pytest.raises(guest.Hostile):
            guest.events(guest_pb2.EventBatch(events=[event]).SerializeToString())


def test_the_host_decides_on_the_head_and_the_guest_only_on_how_it_ended() -> None:
    said = guest_pb2.Outcome(status="succeeded", head="f" * 40, summary="done")
    result = result_of(pb.AttemptFinished(outcome=said.SerializeToString(), head="a" * 40, base="b" * 40))
    assert (result.ok, result.head, result.base, result.reason) == (True, "a" * 40, "b" * 40, "done")
    result = result_of(pb.AttemptFinished(outcome=said.SerializeToString(), cause="vm_lost", reason="it died"))
    assert (result.ok, result.cause, result.reason) == (False, "vm_lost", "it died")


def test_failures_keep_their_phase_and_exit_code() -> None:
    said = guest_pb2.Outcome(status="failed", phase="tests", exit_code=3)
    result = result_of(pb.AttemptFinished(outcome=said.SerializeToString()))
    assert (result.ok, result.phase, result.exit_code) == (False, "tests", 3)
    said.phase = "lunch"
    assert result_of(pb.AttemptFinished(outcome=said.SerializeToString())).cause == "violation"


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("boot_vms", {"count": 2, "image": "default"}),
        ("vm", {"vm_id": "vm_1", "verb": "pause"}),
        ("build_image", {"name": "x"}),
        ("bake_template", {"image": "x", "vcpus": 1, "memory_mib": 2}),
        ("verify_template", {"digest": "all"}),
        ("cleanup", {}),
        ("open_console", {"vm_id": "vm_1"}),
    ],
)
def test_commands_carry_their_arguments(verb: str, arguments: dict[str, object]) -> None:
    command = command_out("cm_1", verb, arguments)
    assert command.WhichOneof("verb") == verb
    if verb == "vm":
        assert (command.vm.vm_id, command.vm.verb) == ("vm_1", pb.VmVerb.VERB_PAUSE)
    else:
        body = getattr(command, verb)
        assert {name: getattr(body, name) for name in arguments} == arguments


@pytest.mark.parametrize(
    ("verb", "arguments"), [("explode", {}), ("vm", {"vm_id": "x", "verb": "eat"}), ("cleanup", {"x": 1}), ("vm", {})]
)
def test_commands_that_no_host_knows_are_refused(verb: str, arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        command_out("cm_1", verb, arguments)


def test_errors_of_hosts_are_ours_by_code() -> None:
    assert type(error_of("NOT_FOUND", "x")) is NotFound
    assert type(error_of("FAILED_PRECONDITION", "x")) is FailedPrecondition
    assert type(error_of("MADE_UP", "x")) is SwarmError
