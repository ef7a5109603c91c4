from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostd.guest import agent, attempt, bundle, outbox, process, scratch
from hostd.guest.failure import Failure
from hostd.guest.settings import Settings
from hostd.guest.transport import Refused


class Line:
    """A transport that takes batches only while it is open."""

    def __init__(self, *, broken: str = "") -> None:
        self.open = True
        self.broken = broken
        self.events: list[dict[str, Any]] = []

    def post(self, path: str, value: dict[str, Any], *, patience_s: float = 0) -> None:
        while not self.open:
            time.sleep(0.01)
        if self.broken and any(self.broken in str(event.get("data")) for event in value["events"]):
            raise Refused(400, b"no")
        self.events += value["events"]


def test_events_keep_their_order_and_numbers() -> None:
    line = Line()
    box = outbox.Outbox(line)  # type: ignore[arg-type]
    for number in range(1000):
        box.log(str(number))
    box.flush(10)
    assert [event["text"] for event in line.events] == [str(n) for n in range(1000)]
    assert [event["seq"] for event in line.events] == [str(n) for n in range(1, 1001)]


def test_what_does_not_fit_leaves_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_ROOM_WAIT_S", 0)
    monkeypatch.setattr(outbox, "_QUEUE_BYTES", 20_000)
    line = Line()
    line.open = False
    box = outbox.Outbox(line)  # type: ignore[arg-type]
    for _ in range(300):
        box.log("x" * 1000)
    line.open = True
    box.flush(10)
    kept = len(line.events)
    assert kept < 60
    box.put("phase", "tests")
    box.flush(10)
    assert line.events[-1]["gap"] == str(300 - kept)
    assert line.events[-1]["seq"] == str(kept + 1)


def test_data_that_the_broker_refuses_goes_without() -> None:
    line = Line(broken="poison")
    box = outbox.Outbox(line)  # type: ignore[arg-type]
    box.log("a")
    box.put("usage", "b", {"x": "poison"})
    box.log("c")
    box.flush(10)
    assert [(event["text"], "data" in event) for event in line.events] == [("a", False), ("b", False), ("c", False)]


@given(st.text(max_size=20000))
def test_texts_are_cut_to_the_limit(text: str) -> None:
    assert len(outbox.shorten(text).encode()) <= outbox.TEXT_LIMIT


@given(
    st.text(max_size=200)
    | st.sampled_from(['{"type": "log", "data": 1e999}', '{"type": "log"', "{" * 5000, '{"type": NaN}'])
)
def test_any_line_is_an_event_or_a_log(line: str) -> None:
    event = agent.parse(line)
    if event is not None:
        assert isinstance(event[1], str)
        assert isinstance(event[2], dict)


def test_events_of_an_agent() -> None:
    assert agent.parse('{"type": "progress", "text": "half", "data": {"fraction": 0.5}}') == (
        "progress",
        "half",
        {"fraction": 0.5},
    )
    assert agent.parse('{"type": "usage", "data": [1]}') == ("usage", "", {"value": [1]})
    for line in (
        "hello",
        "[1]",
        '{"type": "phase"}',
        '{"type": ["log"]}',
        '{"text": "x"}',
        '{"type": "log", "data": NaN}',
    ):
        assert agent.parse(line) is None


def tar(*members: tuple[str, bytes, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mode, info.linkname = kind, len(data), 0o755, "/etc/passwd"
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_a_bundle_is_unpacked(tmp_path: Path) -> None:
    bundle.unpack(tar(("run", tarfile.REGTYPE, b"x"), ("lib/a", tarfile.REGTYPE, b"y")), "", str(tmp_path))
    assert os.access(tmp_path / "run", os.X_OK)
    assert (tmp_path / "lib" / "a").read_bytes() == b"y"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../x", tarfile.REGTYPE),
        ("/x", tarfile.REGTYPE),
        ("x", tarfile.SYMTYPE),
        ("x", tarfile.LNKTYPE),
        ("x", tarfile.CHRTYPE),
    ],
)
def test_bundles_that_leave_their_folder(tmp_path: Path, name: str, kind: bytes) -> None:
    with pytest.raises(Failure):
        bundle.unpack(tar((name, kind, b"")), "", str(tmp_path / "in"))
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_what_its_digest_says(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="damaged"):
        bundle.unpack(tar(("run", tarfile.REGTYPE, b"x")), "0" * 64, str(tmp_path))


def run(script: str, seconds: float = 10) -> tuple[int, list[str], list[str], float]:
    out, err = list[str](), list[str]()
    began = time.monotonic()
    started = process.start(["/bin/sh", "-c", script], "/", dict(os.environ))
    status = process.finish(started, out.append, err.append, began + seconds, alone=False)
    return status, out, err, time.monotonic() - began


def test_output_becomes_lines() -> None:
    assert run("echo a; echo b >&2; printf c; exit 3")[:3] == (3, ["a", "c"], ["b"])
    assert run("kill -9 $$")[0] == 137
    _, lines, _, _ = run("head -c 700000 /dev/zero | tr '\\0' x; echo; echo end")
    assert sum(map(len, lines[:-1])) == 700000
    assert max(map(len, lines)) <= process.LINE_LIMIT + 65536
    assert lines[-1] == "end"


def test_what_a_program_leaves_behind_is_ended() -> None:
    status, out, _, took = run("(sleep 30; echo late) & echo now")
    assert (status, out) == (0, ["now"])
    assert took < 20


def test_a_program_out_of_time_is_ended() -> None:
    assert run("sleep 30 & sleep 30", 0.2)[0] == process.KILLED_BY_DEADLINE


@pytest.mark.parametrize(
    ("free", "files", "full"), [(10 << 20, 100, False), (1000, 100, True), (10 << 20, 0, True), (0, 0, True)]
)
def test_a_disk_is_full_without_room_or_without_a_file(
    monkeypatch: pytest.MonkeyPatch, free: int, files: int, *, full: bool
) -> None:
    found = os.statvfs_result((1, 1, 1 << 30, free, free, 1000, files, files, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: found)
    assert scratch.is_full("/") is full


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (Failure("agent", "status 1"), "disk_full"),
        (Failure("tests", "status 1"), "disk_full"),
        (Failure("push", "git push", 1, "push_failed"), "disk_full"),
        (Failure("push", "a key", 1, "checks_refused"), "checks_refused"),
        (Failure("agent", "cannot", 0, "agent_gave_up"), "agent_gave_up"),
        (Failure("agent", "late", 124, "timeout"), "timeout"),
    ],
)
def test_a_full_disk_explains_what_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failure: Failure, cause: str
) -> None:
    made = attempt.Attempt(Settings(("", 0), ("", 0), str(tmp_path), plain=True), Mock(), Mock(), {})
    monkeypatch.setattr(made, "_run", Mock(side_effect=failure))
    monkeypatch.setattr(scratch, "is_full", lambda _: True)
    assert made.run()["cause"] == cause
    monkeypatch.setattr(scratch, "is_full", lambda _: False)
    assert made.run()["cause"] == failure.cause


@pytest.mark.parametrize("given", ["", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"])
def test_what_is_started_has_the_trace_of_its_ticket_or_none(given: str) -> None:
    settings = Settings(("127.0.0.1", 1), ("127.0.0.1", 2), "/r", plain=True, traceparent=given)
    assert settings.environment().get("TRACEPARENT", "") == given
    assert ("TRACEPARENT" in settings.environment()) is bool(given)
