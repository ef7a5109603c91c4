from __future__ import annotations

import errno
import os
import resource
import select
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ext import netns, spawn
from tests.fakes import ext_oracle as oracle

NOBODY: dict[str, Any] = {"uid": 65534, "gid": 65533}
SHOW = b"cat /proc/self/status; echo; cat /proc/self/limits; readlink /proc/self/ns/net; pwd"


def finish(started: tuple[int, int]) -> int:
    """Wait for a child by its pidfd; returns its exit status, negative for a signal."""
    pid, pidfd = started
    assert select.select([pidfd], [], [], 30)[0] == [pidfd]
    os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def output(how: Callable[..., tuple[int, int]], script: bytes, **options: Any) -> str:
    """What a shell script prints when it is started by `how`."""
    read_end, write_end = os.pipe()
    fds = [(write_end, 1), (write_end, 2), *options.pop("fds", ())]
    chosen = {**NOBODY, **options, "fds": fds}
    started = how([b"/bin/sh", b"-c", script], [b"PATH=/usr/bin:/bin"], **chosen)
    os.close(write_end)
    with os.fdopen(read_end, encoding="ascii") as reader:
        text = reader.read()
    assert finish(started) == 0, text
    return text


def confinement(text: str) -> dict[str, str]:
    """The lines of SHOW that say what a process may do; no names, numbers or sizes that differ between runs."""
    status, rest = text.split("\n\n")
    kept = ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Umask", "ShdPnd", "Cap", "SigPnd", "SigB", "SigI", "SigC")
    fields = (line.partition(":") for line in status.splitlines())
    return {name: value.strip() for name, _, value in fields if name.startswith(kept)} | {"rest": rest}


def test_a_child_is_confined_as_the_twin_confines_it(tmp_path: Path) -> None:
    ns = netns.create()
    limits = [(resource.RLIMIT_NOFILE, 64, 128), (resource.RLIMIT_CORE, 0, 0), (resource.RLIMIT_NPROC, 50, 50)]
    options = {"netns": ns, "rlimits": limits, "nice": 3, "cwd": os.fsencode(tmp_path)}
    try:
        ours = confinement(output(spawn.spawn, SHOW, **options))
        assert ours == confinement(output(oracle.spawn, SHOW, **options))
        inode = os.fstat(ns).st_ino
    finally:
        os.close(ns)
    assert (ours["Uid"].split(), ours["Gid"].split()) == (["65534"] * 4, ["65533"] * 4)
    assert (ours["Groups"], ours["NoNewPrivs"]) == ("", "1")
    masks = {name: int(ours[name], 16) for name in ours if name.startswith(("Cap", "Sig"))}
    # The C library keeps signals 32 and 33 to itself: whether they are ignored is what our own parent made of them.
    reserved = 3 << 31
    assert {mask & ~reserved if name.startswith("Sig") else mask for name, mask in masks.items()} == {0}
    assert f"net:[{inode}]" in ours["rest"]
    assert ours["rest"].splitlines()[-1] == str(tmp_path)
    assert " ".join(next(line for line in ours["rest"].splitlines() if "open files" in line).split()[3:5]) == "64 128"


def test_root_without_capabilities_is_possible() -> None:
    shown = confinement(output(spawn.spawn, SHOW, uid=0, gid=0))
    assert shown["Uid"].split() == ["0"] * 4
    assert {int(shown[name], 16) for name in shown if name.startswith("Cap")} == {0}


def test_only_the_given_descriptors_reach_the_child() -> None:
    one, two, *decoys = (os.memfd_create(name, 0) for name in ("one", "two", "decoy", "decoy"))  # all inheritable
    # Crossing: each target is the other's source; and one far above.
    pairs = [(one, two), (two, one), (one, 77)]
    text = output(spawn.spawn, b"ls -l /proc/$$/fd; true", fds=pairs)
    for fd in (one, two, *decoys):
        os.close(fd)

    found = dict(line.split(maxsplit=8)[8].split(" -> ") for line in text.splitlines()[1:])

    assert {name: found.pop(name).split(" ")[0] for name in (str(one), str(two), "77")} == {
        str(one): "/memfd:two",
        str(two): "/memfd:one",
        "77": "/memfd:one",
    }
    assert found.pop("0") == "/dev/null"
    assert found.keys() == {"1", "2"}


def test_the_environment_is_exactly_the_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_TEST_CANARY", "leaked")
    assert output(spawn.spawn, b"cat /proc/$$/environ; true") == "PATH=/usr/bin:/bin\0"


def test_a_child_leads_its_own_session() -> None:
    pid, _, _, _, group, session = output(spawn.spawn, b"cat /proc/$$/stat; true").split()[:6]
    assert pid == group == session


@pytest.fixture
def cgroup(clean: None) -> Iterator[Path]:
    """A cgroup of its own, in whatever hierarchy this machine has."""
    for parent in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/pids")):
        folder = parent / f"swarm-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        if (folder / "cgroup.procs").exists():
            break
        folder.rmdir()
    else:
        pytest.skip("no writable cgroup hierarchy")
    yield folder
    folder.rmdir()


def test_a_child_starts_in_its_cgroup(cgroup: Path) -> None:
    script = b"cat /proc/$$/cgroup; true"
    text = output(spawn.spawn, script, cgroup_procs=[os.fsencode(cgroup / "cgroup.procs")])
    assert any(line.endswith(f"/{cgroup.name}") for line in text.splitlines())


CLOSED_FD = 987


@pytest.mark.parametrize(
    ("options", "number", "message"),
    [
        ({"argv": [b"/nowhere/qemu"]}, errno.ENOENT, "execute: .*: '/nowhere/qemu'"),
        ({"argv": [b"/etc/passwd"]}, errno.EACCES, "execute: .*: '/etc/passwd'"),
        ({"cwd": b"/nowhere"}, errno.ENOENT, "change directory: .*: '/nowhere'"),
        ({"cgroup_procs": [b"/nowhere/cgroup.procs"]}, errno.ENOENT, "open a cgroup: .*: '/nowhere/cgroup.procs'"),
        ({"cgroup_procs": [b"/dev/full"]}, errno.ENOSPC, "enter a cgroup: .*: '/dev/full'"),
        ({"fds": [(CLOSED_FD, 5)]}, errno.EBADF, "duplicate a descriptor"),
        ({"netns": CLOSED_FD}, errno.EBADF, "enter the network namespace"),
        ({"rlimits": [(resource.RLIMIT_NOFILE, 20, 10)]}, errno.EINVAL, "set a resource limit"),
        ({"rlimits": [(999, 1, 1)]}, errno.EINVAL, "set a resource limit"),
        ({"death_signal": 999}, errno.EINVAL, "set the death signal"),
    ],
)
def test_a_failed_step_is_named_and_leaves_nothing(options: dict[str, Any], number: int, message: str) -> None:
    """The fixture checks for zombies and descriptors."""
    with pytest.raises(OSError, match=message) as caught:
        spawn.spawn(**({"argv": [b"/bin/true"], "env": [], **NOBODY} | options))
    assert caught.value.errno == number


def test_exit_status_and_signals_arrive() -> None:
    assert finish(spawn.spawn([b"/bin/sh", b"-c", b"exit 42"], [], **NOBODY)) == 42
    started = spawn.spawn([b"/bin/sleep", b"60"], [], **NOBODY)
    signal.pidfd_send_signal(started[1], signal.SIGTERM)
    assert finish(started) == -signal.SIGTERM


def test_the_child_dies_with_the_thread_that_started_it() -> None:
    started: list[tuple[int, int]] = []

    def start() -> None:
        started.append(spawn.spawn([b"/bin/sleep", b"60"], [], **NOBODY, death_signal=signal.SIGKILL))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert finish(started[0]) == -signal.SIGKILL


def test_the_parent_keeps_its_identity_signals_and_namespace() -> None:
    def identity() -> tuple[object, ...]:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return os.getresuid(), os.getresgid(), os.getgroups(), mask, Path("/proc/thread-self/ns/net").stat().st_ino

    before, handler = identity(), signal.getsignal(signal.SIGPIPE)
    ns = netns.create()
    assert finish(spawn.spawn([b"/bin/true"], [], **NOBODY, netns=ns)) == 0
    os.close(ns)
    assert (identity(), signal.getsignal(signal.SIGPIPE)) == (before, handler)


def test_threads_spawn_side_by_side() -> None:
    statuses: list[int] = []

    def work() -> None:
        scripts = [b"exit %d" % number for number in range(20)]
        statuses.extend(finish(spawn.spawn([b"/bin/sh", b"-c", script], [], **NOBODY)) for script in scripts)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == sorted([*range(20)] * 4)
