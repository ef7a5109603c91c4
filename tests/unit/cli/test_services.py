"""Background processes of the embedded deployment, with a real process each."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swarm_cli import services
from swarm_cli.services import Service
from swarm_sdk.errors import FailedPreconditionError

READY = "import sys, time; print('ready', flush=True); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Service]]:
    """Starts a service that runs a source text; kills what is left."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    children: list[subprocess.Popen[bytes]] = []

    def start(source: str) -> Service:
        (tmp_path / "sleeper.py").write_text(source)
        service = Service("sleeper", tmp_path / "state", ("sleeper",))
        children.append(service.start())
        until(lambda: "ready" in service.last_words())
        return service

    yield start
    for child in children:
        child.kill()
        child.wait()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_service_starts_in_a_session_of_its_own_and_stops(started: Callable[[str], Service]) -> None:
    service = started(READY)
    pid = service.pid()

    assert pid is not None
    assert os.getsid(pid) == pid
    assert service.log.read_text() == "ready\n"
    assert service.stop()
    assert service.pid() is None
    assert not service.pid_file.exists()


def test_stopping_what_does_not_run_is_no_error(tmp_path: Path) -> None:
    assert not Service("sleeper", tmp_path, ("sleeper",)).stop()


def test_a_reused_pid_is_not_mistaken_for_the_service(tmp_path: Path) -> None:
    """The file names a living process, this one, but not the one that was started."""
    service = Service("sleeper", tmp_path, ("sleeper",))
    service.pid_file.parent.mkdir(parents=True)
    service.pid_file.write_text(f"{os.getpid()} 1\n")

    assert service.pid() is None
    assert not service.stop()
    assert not service.pid_file.exists()


@pytest.mark.parametrize("content", ["", "x y", "12", "1 2 3", "\xff"])
def test_a_damaged_pid_file_means_that_nothing_runs(tmp_path: Path, content: str) -> None:
    service = Service("sleeper", tmp_path, ("sleeper",))
    service.pid_file.parent.mkdir(parents=True)
    service.pid_file.write_text(content, encoding="latin-1")

    assert service.pid() is None


def test_a_zombie_does_not_run(tmp_path: Path) -> None:
    service = Service("sleeper", tmp_path, ("sleeper",))
    service.pid_file.parent.mkdir(parents=True)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    service.pid_file.write_text(f"{child.pid} {services._started(child.pid)}\n")
    assert service.pid() == child.pid
    assert child.stdin is not None
    child.stdin.close()  # ends it; nobody waits for it yet
    until(lambda: service.pid() is None)
    child.wait()


def test_what_does_not_end_is_told_with_its_log(
    started: Callable[[str], Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "STOP_TIMEOUT_S", 0.2)
    service = started(STUBBORN)

    with pytest.raises(FailedPreconditionError, match=r"sleeper \(pid \d+\) does not end; see .*sleeper\.log"):
        service.stop()


def test_last_words_are_the_end_of_the_log(tmp_path: Path) -> None:
    service = Service("sleeper", tmp_path, ("sleeper",))
    assert service.last_words() == ""
    service.log.parent.mkdir(parents=True)
    service.log.write_bytes(b"".join(b"line %d\n" % number for number in range(9)) + b"\xff\n")

    assert service.last_words() == "line 5\nline 6\nline 7\nline 8\n�"


def test_the_host_gets_its_own_directory_and_the_options(tmp_path: Path) -> None:
    control, host = services.services(tmp_path, ["--driver", "sim"])

    assert control.argv == ("controlplane", "--state-dir", str(tmp_path))
    assert host.argv[:3] == ("hostd", "--state-dir", str(tmp_path / "host"))
    assert host.argv[-2:] == ("--driver", "sim")


@pytest.mark.parametrize("place", ["log", "run", "."])
def test_nothing_is_written_where_others_can_put_links(tmp_path: Path, place: str) -> None:
    state = tmp_path / "state"
    for folder in ("log", "run"):
        (state / folder).mkdir(parents=True)
    (state / place).chmod(0o1777)
    with pytest.raises(FailedPreconditionError, match="--state-dir"):
        Service("sleeper", state, ("sleeper",)).start()
    assert not (state / "log" / "sleeper.log").exists()


def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "state" / "log").mkdir(parents=True)
    (tmp_path / "state" / "log" / "sleeper.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Service("sleeper", tmp_path / "state", ("sleeper",)).start()
    assert not (tmp_path / "elsewhere").exists()
