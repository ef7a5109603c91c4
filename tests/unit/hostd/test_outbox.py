"""Numbering, priority, retention and bounds of what a host sends."""

from __future__ import annotations

import random

import pytest

from hostd.link.outbox import MESSAGE_BYTES, Batch, Caps, Outbox
from hostd.link.stream import BrokenStreamError, Inbox
from hostd.messages import AgentEvents, AttemptRef, Capacity, Finished, HostEvent, Renewal, VmReport

REF = AttemptRef("at_1", "tk_1", 1)
OTHER = AttemptRef("at_2", "tk_2", 1)


def logs(text: str, ref: AttemptRef = REF, count: int = 1) -> AgentEvents:
    return AgentEvents(ref, text.encode(), logs=count)


def question(text: str) -> AgentEvents:
    return AgentEvents(REF, text.encode())


def events(batch: Batch | None) -> list[HostEvent]:
    assert batch
    return [item.event for item in batch.items]


def test_messages_are_numbered_from_one_and_kept_until_acknowledged() -> None:
    box, done = Outbox(), list[str]()
    box.put(Finished(REF), 100, lambda: done.append("first"))
    first = box.next()
    box.put(Finished(OTHER), 100, lambda: done.append("second"))
    second = box.next()
    assert first
    assert second
    assert (first.seq, second.seq, box.next()) == (1, 2, None)
    assert box.unacked() == (first, second)
    box.ack(1)
    assert (done, box.unacked()) == (["first"], (second,))
    box.ack(1)
    box.ack(2)
    assert done == ["first", "second"]


def test_uncongested_events_keep_their_order() -> None:
    box = Outbox()
    wanted: list[HostEvent] = [logs("a"), question("b"), Finished(REF), logs("c")]
    for event in wanted:
        box.put(event, 10)
    assert events(box.next()) == wanted


def test_under_congestion_renewals_and_results_overtake_events_and_events_overtake_logs() -> None:
    box = Outbox()
    big = MESSAGE_BYTES - 100
    box.put(logs("l"), big)
    box.put(question("q"), big)
    box.put(Finished(REF), big)
    box.put(Renewal(1, (REF,)), 50)
    assert events(box.next()) == [Finished(REF), Renewal(1, (REF,))]
    assert events(box.next()) == [question("q")]
    assert events(box.next()) == [logs("l")]


def test_only_the_newest_renewal_and_report_wait_and_neither_is_repeated() -> None:
    box = Outbox()
    report = VmReport((), Capacity(0, 0, 0, 0))
    for nonce in (1, 2, 3):
        box.put(Renewal(nonce, ()), 20)
        box.put(report, 20)
    assert events(box.next()) == [Renewal(3, ()), report]
    (kept,) = box.unacked()
    assert (kept.seq, kept.items) == (1, ()), "its number is repeated, its stale content is not"


def test_a_closed_window_holds_back_everything_but_renewals() -> None:
    box = Outbox(Caps(window=1000))
    box.put(Finished(REF), 1000)
    assert box.next()
    box.put(Finished(OTHER), 10)
    assert box.next() is None
    box.put(Renewal(1, ()), 10)
    assert events(box.next()) == [Renewal(1, ())]
    box.ack(2)
    assert events(box.next()) == [Finished(OTHER)]


def test_dropped_logs_leave_one_gap_marker_per_attempt_that_counts_them() -> None:
    box = Outbox(Caps(logs=250))
    for number in range(5):
        box.put(logs(str(number), count=10), 100)
    box.put(logs("other", OTHER, count=1), 100)
    sent = events(box.next())
    assert AgentEvents(REF, b"", gap=40) in sent
    assert sent[-2:] == [logs("4", count=10), logs("other", OTHER)]
    assert sent.index(AgentEvents(REF, b"", gap=40)) < sent.index(logs("4", count=10))


def test_events_give_way_only_to_a_larger_cap_and_results_never() -> None:
    box = Outbox(Caps(logs=100, events=300))
    for number in range(10):
        box.put(question(str(number)), 100)
        box.put(Finished(AttemptRef(f"at_{number}", "tk", 1)), 100)
    sent = events(box.next())
    assert [e for e in sent if isinstance(e, AgentEvents) and not e.gap] == [question(n) for n in "789"]
    assert sum(isinstance(event, Finished) for event in sent) == 10


def test_messages_stay_below_the_limit_and_nothing_is_lost_over_random_reconnects() -> None:
    dice = random.Random(3)
    box, received, last, put = Outbox(Caps(logs=1 << 30)), list[HostEvent](), 0, list[HostEvent]()
    for number in range(400):
        choices: list[HostEvent] = [logs(f"{number}"), question(f"{number}"), Finished(REF, reason=f"{number}")]
        event = dice.choice(choices)
        put.append(event)
        box.put(event, dice.randrange(1, 200_000))
        fresh = box.next() if dice.random() < 0.7 else None
        resent = box.unacked() if dice.random() < 0.1 else ()
        for batch in (*resent, *([fresh] if fresh else [])):
            assert batch.size <= MESSAGE_BYTES
            if batch.seq == last + 1 and dice.random() < 0.9:
                last = batch.seq
                received += [item.event for item in batch.items]
        if dice.random() < 0.5:
            box.ack(last)
    while box.next():
        pass
    for kept in box.unacked():
        if kept.seq > last:
            received += [item.event for item in kept.items]
    box.ack(1 << 60)
    assert not box.unacked()
    assert sorted(map(repr, received)) == sorted(map(repr, put))


def test_the_inbox_takes_each_number_once_and_notices_a_hole() -> None:
    inbox = Inbox()
    assert inbox.admit(7), "without memory the first number is taken as it is"
    assert not inbox.admit(7)
    assert not inbox.admit(3)
    assert not inbox.admit(0)
    assert inbox.admit(8)
    with pytest.raises(BrokenStreamError):
        inbox.admit(10)
    assert inbox.last == 8
