"""A whole network slot: namespace, lo, tap with MAC and address, neighbour; ours opens its two sockets besides."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence

from bench.measure import Action, Figures, Row, clocked, in_turns
from ext import netns

try:
    import pyroute2
except ImportError:
    pyroute2 = None

NAME = "slot_build"
SUMMARY = "build a VM's network slot: ours, the ip command, pyroute2"

HOST, GUEST, PREFIX, PORT = "172.16.0.1", "172.16.0.2", 30, 8000
HOST_MAC, GUEST_MAC = "06:00:ac:10:00:01", "06:00:ac:10:00:02"
SLOT = f"swarm-bench-{os.getpid()}"
STEPS = (
    "link set lo up",
    "tuntap add tap0 mode tap vnet_hdr",
    f"link set tap0 address {HOST_MAC}",
    f"addr add {HOST}/{PREFIX} dev tap0",
    "link set tap0 up",
    f"neigh add {GUEST} lladdr {GUEST_MAC} dev tap0",
)


def ip(*words: str, text: str = "") -> None:
    subprocess.run(["ip", *words], check=True, input=text.encode())


def ours() -> float:
    built: list[netns.Net] = []
    macs = bytes.fromhex(HOST_MAC.replace(":", "")), bytes.fromhex(GUEST_MAC.replace(":", ""))
    taken = clocked(lambda: built.append(netns.build("tap0", HOST, PREFIX, macs[0], GUEST, macs[1], PORT)))
    netns.drop(built)
    return taken


def named(build: Callable[[], object]) -> float:
    """A build that leaves a namespace under the bench's name, which is removed off the clock."""
    try:
        return clocked(build)
    finally:
        ip("netns", "del", SLOT)


def by_ip() -> float:
    def build() -> None:
        ip("netns", "add", SLOT)
        for step in STEPS:
            ip("-n", SLOT, *step.split())

    return named(build)


def by_ip_batch() -> float:
    def build() -> None:
        ip("netns", "add", SLOT)
        ip("-n", SLOT, "-batch", "-", text="\n".join(STEPS))

    return named(build)


def by_netlink() -> None:
    """What remains of a slot in a namespace that the thread is in already."""
    with pyroute2.IPRoute() as route:
        route.link("set", index=1, state="up")
        route.link("add", ifname="tap0", kind="tuntap", mode="tap", vnet_hdr=1)
        (tap,) = route.link_lookup(ifname="tap0")
        route.link("set", index=tap, address=HOST_MAC)
        route.addr("add", index=tap, address=HOST, prefixlen=PREFIX)
        route.link("set", index=tap, state="up")
        route.neigh("add", dst=GUEST, lladdr=GUEST_MAC, ifindex=tap)


def by_pyroute2() -> float:
    def build() -> None:
        pyroute2.netns.create(SLOT)
        pyroute2.netns.pushns(SLOT)  # faster than NetNS(SLOT), which starts a helper
        by_netlink()
        pyroute2.netns.popns()

    return named(build)


def by_pyroute2_inside() -> float:
    """Its best case: the namespace is made and entered by ours."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    opened = [home]

    def build() -> None:
        opened.append(netns.create())
        pyroute2.netns.setns(opened[-1])
        by_netlink()
        pyroute2.netns.setns(home)

    taken = clocked(build)
    for fd in opened:
        os.close(fd)
    return taken


IP = shutil.which("ip") is not None
PEERS: Sequence[tuple[str, str, Action, bool]] = (
    ("ip, a command per step", ">= 10x", by_ip, IP),
    ("ip -batch", "", by_ip_batch, IP),
    ("pyroute2", ">= 3x", by_pyroute2, pyroute2 is not None),
    ("pyroute2 in a namespace of ours", "", by_pyroute2_inside, pyroute2 is not None),
)


def run(n: int) -> list[Row]:
    present = [action for _, _, action, there in PEERS if there]
    mine, *theirs = in_turns(n, ours, *present)
    measured: dict[Action, Figures] = dict(zip(present, theirs, strict=True))
    return [
        Row("slot build", "ms", mine, name, measured.get(action), goal, "" if there else "not installed here")
        for name, goal, action, there in PEERS
    ]
