"""Network namespaces, taps and the sockets opened inside them, by raw system calls.

Namespaces are anonymous: one lives as long as a descriptor, a socket or a process in it, and nothing is mounted under
``/run/netns``. Each call enters the namespace on the calling thread and leaves it again before it returns; a thread
that cannot return ends the process, because it would act in the wrong network. Addresses are IPv4, MACs are six bytes.
All calls raise ``OSError`` (errno, failed step, interface name) and ``ValueError`` for a malformed name or address.
"""

from collections.abc import Sequence
from dataclasses import dataclass

@dataclass(frozen=True, slots=True)
class Net:
    """The four descriptors of one slot: namespace, tun queue of its tap, listening socket, datagram socket."""

    ns: int
    tap: int
    listener: int
    doorbell: int

    def close(self) -> None:
        """Close all four, in microseconds. Once only: the numbers may be reused as soon as this returns."""

def create() -> int:
    """A new namespace with ``lo`` up and IPv6 off, as a close-on-exec descriptor. The thread stays where it was."""

def of_process(pid: int) -> int:
    """The namespace that process ``pid`` is in, as a close-on-exec descriptor."""

def tap(ns: int, name: str, mac: bytes) -> int:
    """A tap (no packet information, virtio-net header) in ``ns``. Returns its descriptor; closing that destroys it."""

def address(ns: int, name: str, ip: str, prefix: int) -> None:
    """Give interface ``name`` the address ``ip``/``prefix``."""

def up(ns: int, name: str) -> None:
    """Bring interface ``name`` up."""

def neighbour(ns: int, name: str, ip: str, mac: bytes) -> None:
    """Add a permanent ARP entry for ``ip`` on interface ``name``, so that reaching it never waits for a lookup."""

def listener(ns: int, ip: str, port: int, backlog: int = 16) -> int:
    """A listening TCP socket inside ``ns``: close-on-exec, non-blocking, usable from any event loop."""

def datagram(ns: int) -> int:
    """An unbound UDP socket inside ``ns``: close-on-exec, non-blocking."""

def build(name: str, host_ip: str, prefix: int, host_mac: bytes, guest_ip: str, guest_mac: bytes, port: int) -> Net:
    """A whole slot in one call: namespace, ``lo``, persistent tap with MAC and address, neighbour, both sockets."""

def drop(nets: Sequence[Net]) -> None:
    """Close every slot of a batch. The kernel dismantles namespaces and the taps inside in the background."""
