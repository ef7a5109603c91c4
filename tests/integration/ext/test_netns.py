from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ext import netns, spawn
from tests.fakes import ext_oracle as oracle
from tests.fakes.leaks import open_files

HOST, GUEST, PORT = "172.16.0.1", "172.16.0.2", 8000
HOST_MAC, GUEST_MAC = bytes.fromhex("0600ac100001"), bytes.fromhex("0600ac100002")
SLOT = ("tap0", HOST, 30, HOST_MAC, GUEST, GUEST_MAC, PORT)
VNET_HEADER = 10


@pytest.fixture
def net(clean: None) -> Iterator[netns.Net]:
    built = netns.build(*SLOT)
    yield built
    built.close()


@pytest.fixture
def ns(clean: None) -> Iterator[int]:
    created = netns.create()
    yield created
    os.close(created)


class State(NamedTuple):
    """All that can be seen of a namespace from inside."""

    interfaces: list[str]
    flags: dict[str, int]
    mac: bytes
    address: bytes
    mask: bytes
    neighbours: list[list[str]]
    ipv6: str
    routes: list[list[str]]
    listening: list[list[str]]


def state(ns: int) -> State:
    def table(name: str) -> list[list[str]]:
        return [line.split()[:8] for line in Path(f"/proc/thread-self/net/{name}").read_text().splitlines()[1:]]

    with oracle.inside(ns):
        names = [name for _, name in socket.if_nameindex()]
        return State(
            interfaces=names,
            flags={name: struct.unpack_from("H", oracle.set_interface(0x8913, name, b""))[0] for name in names},
            mac=oracle.set_interface(0x8927, "tap0", b"")[2:8],
            address=oracle.set_interface(0x8915, "tap0", b"")[4:8],
            mask=oracle.set_interface(0x891B, "tap0", b"")[4:8],
            neighbours=table("arp"),
            ipv6=Path("/proc/thread-self/net/if_inet6").read_text(),
            routes=table("route"),
            listening=[row[1:4] for row in table("tcp")],
        )


def interfaces(ns: int) -> list[str]:
    with oracle.inside(ns):
        return [name for _, name in socket.if_nameindex()]


def home() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def test_a_slot_is_what_the_twin_builds(net: netns.Net) -> None:
    twin = oracle.build(*SLOT)
    try:
        seen = state(net.ns)
        assert seen == state(twin.ns)
    finally:
        twin.close()
    assert sorted(seen.interfaces) == ["lo", "tap0"]
    assert all(flags & 1 for flags in seen.flags.values())
    assert (seen.mac, seen.address, seen.mask) == (HOST_MAC, socket.inet_aton(HOST), b"\xff\xff\xff\xfc")
    assert [(row[0], row[3]) for row in seen.neighbours] == [(GUEST, "06:00:ac:10:00:02")]
    assert seen.ipv6 == ""
    assert [row[1] for row in seen.routes] == ["000010AC"], "one on-link network and no default route"


def test_the_single_steps_make_the_same_slot(net: netns.Net, ns: int) -> None:
    tap = netns.tap(ns, "tap0", HOST_MAC)
    netns.address(ns, "tap0", HOST, 30)
    netns.up(ns, "tap0")
    netns.neighbour(ns, "tap0", GUEST, GUEST_MAC)
    listener = netns.listener(ns, HOST, PORT)
    try:
        assert state(ns) == state(net.ns)
    finally:
        os.close(listener)
        os.close(tap)
    assert interfaces(ns) == ["lo"], "a single tap goes with its descriptor"


def test_descriptors_are_not_inherited_and_sockets_never_block(net: netns.Net) -> None:
    fds = (net.ns, net.tap, net.listener, net.doorbell)
    assert [os.get_inheritable(fd) for fd in fds] == [False] * 4
    assert [bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK) for fd in fds[2:]] == [True, True]


def ask(net: netns.Net) -> str:
    """Connect from inside the slot; returns the client's address as the slot's listener sees it."""
    with oracle.inside(net.ns):
        client = socket.create_connection((HOST, PORT), timeout=5)
    with client, socket.socket(fileno=os.dup(net.listener)) as server:
        connection, peer = server.accept()
        with connection:
            assert connection.getpeername() == client.getsockname()
        return str(peer[0])


def test_slots_with_equal_addresses_do_not_meet(net: netns.Net) -> None:
    other = netns.build(*SLOT)
    try:
        assert ask(net) == HOST
        with socket.socket(fileno=os.dup(other.listener)) as server, pytest.raises(BlockingIOError):
            server.accept()
        assert ask(other) == HOST
    finally:
        other.close()


def test_the_doorbell_reaches_the_guest_without_a_lookup(net: netns.Net) -> None:
    os.set_blocking(net.tap, False)
    with pytest.raises(BlockingIOError):  # nothing has been sent: no router solicitation, no multicast report
        os.read(net.tap, 2048)

    with socket.socket(fileno=os.dup(net.doorbell)) as bell:
        bell.sendto(b"wake", (GUEST, 7))

    frame = os.read(net.tap, 2048)[VNET_HEADER:]
    assert (frame[:6], frame[6:12], frame[12:14]) == (GUEST_MAC, HOST_MAC, b"\x08\x00")
    assert frame.endswith(b"wake")
    with pytest.raises(BlockingIOError):
        os.read(net.tap, 2048)


@pytest.mark.parametrize(
    ("call", "number", "message"),
    [
        (lambda ns: netns.up(ns, "tap9"), errno.ENODEV, "read the flags of an interface: .*: 'tap9'"),
        (lambda ns: netns.address(ns, "tap9", HOST, 30), errno.ENODEV, "set the address of an interface: .*'tap9'"),
        (lambda ns: netns.neighbour(ns, "tap9", GUEST, GUEST_MAC), errno.ENODEV, "add a neighbour: .*'tap9'"),
        (lambda ns: netns.tap(ns, "lo", HOST_MAC), errno.EINVAL, "create a tap: .*'lo'"),
        (lambda ns: netns.tap(ns, "tap0", b"\xff" * 6), errno.EADDRNOTAVAIL, "set the MAC of an interface: .*'tap0'"),
        (lambda ns: netns.listener(ns, HOST, PORT), errno.EADDRNOTAVAIL, "bind a listening socket"),
        (lambda ns: netns.up(999_999, "lo"), errno.EBADF, "enter the namespace"),
        (lambda ns: netns.of_process(2**22 + 1), errno.ENOENT, "open the namespace of a process"),
        (lambda ns: netns.build("lo", *SLOT[1:]), errno.EINVAL, "create a tap: .*'lo'"),
        (lambda ns: netns.build("tap0", "224.0.0.1", *SLOT[2:]), errno.EINVAL, "set the address of an interface"),
    ],
)
def test_a_failed_step_is_named_and_undone(ns: int, call: Callable[[int], object], number: int, message: str) -> None:
    before, where = open_files(), home()
    with pytest.raises(OSError, match=message) as caught:
        call(ns)
    assert caught.value.errno == number
    assert (open_files(), home()) == (before, where)


def test_a_file_is_no_namespace(net: netns.Net) -> None:
    with pytest.raises(OSError, match="enter the namespace") as caught:
        netns.datagram(net.tap)
    assert caught.value.errno == errno.EINVAL


def test_the_thread_stays_where_it_is() -> None:
    """Also when that is not where the process began."""
    where = home()
    elsewhere = netns.create()
    with oracle.inside(elsewhere):
        here = home()
        netns.build(*SLOT).close()
        assert home() == here == os.fstat(elsewhere).st_ino != where
    os.close(elsewhere)
    assert home() == where


def test_threads_build_side_by_side() -> None:
    built: list[netns.Net] = []
    homes: set[int] = set()

    def work() -> None:
        built.extend(netns.build(*SLOT) for _ in range(10))
        homes.add(home())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({os.fstat(net.ns).st_ino for net in built}) == 40
    assert homes == {home()}
    assert {ask(net) for net in built} == {HOST}
    netns.drop(built)


def test_a_running_process_keeps_its_slot_for_adoption() -> None:
    net = netns.build(*SLOT)
    inode = os.fstat(net.ns).st_ino
    pid, pidfd = spawn.spawn([b"/bin/sleep", b"60"], [], uid=65534, gid=65534, netns=net.ns)
    netns.drop([net])

    adopted = netns.of_process(pid)
    listener = netns.listener(adopted, HOST, PORT)

    assert os.fstat(adopted).st_ino == inode
    assert state(adopted).interfaces == ["lo", "tap0"]
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    for fd in (pidfd, adopted, listener):
        os.close(fd)


def pair_up(witness: int, net: netns.Net, name: str) -> None:
    """A cable between two namespaces: the kernel removes the end in `witness` when it dismantles that of `net`."""
    there = f"/proc/{os.getpid()}/fd/{net.ns}"
    command = ["ip", "link", "add", name, "type", "veth", "peer", "name", "cable", "netns", there]
    with oracle.inside(witness):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no veth here: {done.stderr.strip()}")


@pytest.mark.skipif(shutil.which("ip") is None, reason="needs the ip command")
def test_dropped_slots_are_dismantled_with_their_taps(ns: int) -> None:
    nets = [netns.build(*SLOT) for _ in range(20)]
    for number, net in enumerate(nets):
        pair_up(ns, net, f"w{number}")

    netns.drop(nets[:10])
    for net in nets[10:]:
        net.close()

    deadline = time.monotonic() + 60
    while (left := interfaces(ns)) != ["lo"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == ["lo"]


def test_dropping_nothing_is_allowed() -> None:
    netns.drop([])
