from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from ext.vmpool import resume

CONT = b'{"execute": "cont"}\n'
EVENT = b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESUME", "data": {"return": 1}}\r\n'
OK = b'{"return": {}}\r\n'

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair(clean: None) -> Iterator[Pair]:
    ours, vmm = socket.socketpair()
    with ours, vmm:
        yield ours, vmm


def test_the_request_is_sent_and_the_answer_timed(pair: Pair) -> None:
    ours, vmm = pair
    vmm.sendall(OK)
    before = time.monotonic_ns()

    answered = resume(ours.fileno(), CONT, 1000)

    assert before <= answered <= time.monotonic_ns()
    assert vmm.recv(100) == CONT


def test_events_are_skipped_and_what_follows_is_left(pair: Pair) -> None:
    ours, vmm = pair
    vmm.sendall(EVENT * 3 + OK + EVENT)

    resume(ours.fileno(), CONT, 1000)

    assert ours.recv(1000) == EVENT


@pytest.mark.parametrize("blocking", [True, False])
def test_an_answer_may_come_late_and_in_pieces(pair: Pair, blocking: bool) -> None:  # noqa: FBT001
    ours, vmm = pair
    ours.setblocking(blocking)

    def answer() -> None:
        vmm.recv(100)
        for byte in EVENT + OK:
            vmm.sendall(bytes([byte]))

    thread = threading.Thread(target=answer)
    thread.start()
    resume(ours.fileno(), CONT, 5000)
    thread.join()


@pytest.mark.parametrize(
    "line",
    [
        b'{"error": {"class": "GenericError", "desc": "no \\"return\\" from here"}}',
        b'{"error": {"desc": "x", "return": {}}}',
        b"garbage",
        b"",
        b"\xff\0\xfe",
    ],
)
def test_an_error_or_a_malformed_line_is_a_protocol_error(pair: Pair, line: bytes) -> None:
    ours, vmm = pair
    vmm.sendall(line + b"\r\n" + OK)
    with pytest.raises(OSError, match="refused") as caught:
        resume(ours.fileno(), CONT, 1000)
    assert caught.value.errno == errno.EPROTO


def test_a_silent_vmm_times_out(pair: Pair) -> None:
    ours, vmm = pair
    vmm.sendall(EVENT)
    with pytest.raises(TimeoutError, match="resume a VM"):
        resume(ours.fileno(), CONT, 20)


def test_a_vmm_that_hung_up_is_a_lost_connection(pair: Pair) -> None:
    ours, vmm = pair
    vmm.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):
        resume(ours.fileno(), CONT, 1000)
    vmm.close()
    with pytest.raises(BrokenPipeError):
        resume(ours.fileno(), CONT, 1000)


@pytest.mark.parametrize("chatter", [b"x" * 1000, EVENT])
def test_a_vmm_that_never_comes_to_the_point_is_cut_off(pair: Pair, chatter: bytes) -> None:
    ours, vmm = pair

    def talk() -> None:
        try:
            while True:
                vmm.sendall(chatter)
        except OSError:
            pass

    thread = threading.Thread(target=talk)
    thread.start()
    with pytest.raises(OSError, match="resume a VM") as caught:
        resume(ours.fileno(), CONT, 5000)
    ours.close()
    thread.join()
    assert caught.value.errno == errno.EMSGSIZE


@pytest.mark.parametrize("request_", [b"", b"{}", b"{}\n{}\n"])
def test_a_request_is_one_line(request_: bytes) -> None:
    with pytest.raises(ValueError, match="one line"):
        resume(0, request_, 10)
