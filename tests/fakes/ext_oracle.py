"""The pure-Python twin of ext: the same calls by the plainest means, slow and easy to check by reading."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import ipaddress
import os
import resource
import signal
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
PAGE = 4096


def check(result: int) -> int:
    """The result of a C call, or its errno as an exception."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


# --- netns ---


@dataclass(frozen=True, slots=True)
class Net:
    ns: int
    tap: int
    listener: int
    doorbell: int

    def close(self) -> None:
        drop([self])


@contextmanager
def inside(ns: int) -> Iterator[None]:
    """The calling thread in another namespace (-1: a new one)."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    check(LIBC.setns(ns, CLONE_NEWNET) if ns >= 0 else LIBC.unshare(CLONE_NEWNET))
    try:
        yield
    finally:
        check(LIBC.setns(home, CLONE_NEWNET))
        os.close(home)


def set_interface(request: int, name: str, value: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return fcntl.ioctl(sock, request, struct.pack("16s24s", name.encode(), value))[16:]


def inet(ip: str) -> bytes:
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(ip))


def create() -> int:
    with inside(-1):
        Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
        ns = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    up(ns, "lo")
    return ns


def tap(ns: int, name: str, mac: bytes) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR)
    with inside(ns):
        os.close(fd)  # a tun descriptor belongs to the namespace it was opened in
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x0002 | 0x1000 | 0x4000))
        set_interface(0x8924, name, struct.pack("H6s", 1, mac))
    return fd


def address(ns: int, name: str, ip: str, prefix: int) -> None:
    mask = str(ipaddress.ip_network(f"0.0.0.0/{prefix}").netmask)
    with inside(ns):
        set_interface(0x8916, name, inet(ip))
        set_interface(0x891C, name, inet(mask))


def up(ns: int, name: str) -> None:
    with inside(ns):
        (flags,) = struct.unpack_from("H", set_interface(0x8913, name, b""))
        set_interface(0x8914, name, struct.pack("H", flags | 1))


def neighbour(ns: int, name: str, ip: str, mac: bytes) -> None:
    entry = inet(ip) + struct.pack("H6s8xi16x16s", 1, mac, 2 | 4, name.encode())
    with inside(ns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8955, entry)


def listener(ns: int, ip: str, port: int, backlog: int = 16) -> int:
    with inside(ns):
        sock = socket.create_server((ip, port), backlog=backlog)
    sock.settimeout(0)
    return sock.detach()


def datagram(ns: int) -> int:
    with inside(ns):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(0)
    return sock.detach()


def build(  # noqa: PLR0917
    name: str, host_ip: str, prefix: int, host_mac: bytes, guest_ip: str, guest_mac: bytes, port: int
) -> Net:
    ns = create()
    tun = tap(ns, name, host_mac)
    fcntl.ioctl(tun, 0x400454CB, 1)
    address(ns, name, host_ip, prefix)
    up(ns, name)
    neighbour(ns, name, guest_ip, guest_mac)
    return Net(ns, tun, listener(ns, host_ip, port), datagram(ns))


def drop(nets: Sequence[Net]) -> None:
    for net in nets:
        for fd in (net.listener, net.doorbell, net.tap, net.ns):
            os.close(fd)


# --- spawn ---


def confine(uid: int, gid: int, limits: Sequence[tuple[int, int, int]], nice: int) -> None:
    os.setsid()
    os.nice(nice)
    for kind, soft, hard in limits:
        resource.setrlimit(kind, (soft, hard))
    capability = 0
    while LIBC.prctl(24, capability, 0, 0, 0) == 0:
        capability += 1
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    LIBC.capset(struct.pack("Ii", 0x20080522, 0), b"\0" * 24)
    check(LIBC.prctl(38, 1, 0, 0, 0))
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def place(fds: Sequence[tuple[int, int]]) -> None:
    high = [(fcntl.fcntl(source, fcntl.F_DUPFD, 500), target) for source, target in fds]
    null = os.open("/dev/null", os.O_RDWR)
    for target in range(3):
        os.dup2(null, target)
    for source, target in high:
        os.dup2(source, target)
    kept = {0, 1, 2} | {target for _, target in fds}
    for fd in {int(path.name) for path in Path("/proc/self/fd").iterdir()} - kept:
        with suppress(OSError):  # the listing's own descriptor
            os.close(fd)


def spawn(
    argv: Sequence[bytes],
    env: Sequence[bytes],
    *,
    uid: int,
    gid: int,
    netns: int = -1,
    cgroup_procs: Sequence[bytes] = (),
    rlimits: Sequence[tuple[int, int, int]] = (),
    fds: Sequence[tuple[int, int]] = (),
    nice: int = 0,
    cwd: bytes = b"/",
) -> tuple[int, int]:
    pid = os.fork()
    if pid == 0:
        try:
            for path in cgroup_procs:
                Path(os.fsdecode(path)).write_text("0")
            os.chdir(cwd)
            if netns >= 0:
                check(LIBC.setns(netns, CLONE_NEWNET))
            place(fds)
            confine(uid, gid, rlimits, nice)
            os.execve(argv[0], list(argv), dict(item.split(b"=", 1) for item in env))  # noqa: S606
        finally:
            os._exit(127)
    return pid, os.pidfd_open(pid)


# --- snapshot ---


class ImageMismatch(ValueError):
    pass


def digest(fd: int, size: int) -> bytes:
    content = os.pread(fd, size, 0)
    if len(content) != size:
        raise ImageMismatch
    return hashlib.sha256(content).digest()


def copy_sparse(source: int, size: int, target: int) -> None:
    os.truncate(target, 0)
    os.truncate(target, size)
    for offset in range(0, size, PAGE):
        page = os.pread(source, min(PAGE, size - offset), offset)
        if page.strip(b"\0"):
            os.pwrite(target, page, offset)


def seal(source: int, size: int, sha256: bytes) -> int:
    if os.fstat(source).st_size != size or digest(source, size) != sha256:
        raise ImageMismatch
    image = os.memfd_create("oracle", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    copy_sparse(source, size, image)
    fcntl.fcntl(image, fcntl.F_ADD_SEALS, 0xF)
    return image


def save(memfd: int, size: int, target: int) -> bytes:
    copy_sparse(memfd, size, target)
    return digest(memfd, size)


def working_set(pid: int, inode: int, size: int) -> list[tuple[int, int]]:
    touched = set()
    with Path(f"/proc/{pid}/pagemap").open("rb") as pagemap:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area, _, offset, _, number = line.split(maxsplit=5)[:5]
            start, end = (int(part, 16) for part in area.split("-"))
            for address in range(start, end, PAGE) if int(number) == inode else ():
                pagemap.seek(address // PAGE * 8)
                if int.from_bytes(pagemap.read(8), sys.byteorder) >> 62:
                    touched.add(int(offset, 16) + address - start)
    ranges: list[tuple[int, int]] = []
    for page in sorted(page for page in touched if page < size):
        if ranges and sum(ranges[-1]) == page:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + PAGE)
        else:
            ranges.append((page, PAGE))
    return ranges


# --- vmpool ---


class VmPool:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.vms: dict[int, int] = {}
        self.lock = threading.Lock()
        self.closed = False

    def put(self, token: int, control: int) -> bool:
        with self.lock:
            if self.closed or len(self.vms) == self.capacity:
                return False
            self.vms[token] = control
            return True

    def acquire(self) -> tuple[int, int] | None:
        with self.lock:
            return self.vms.popitem() if self.vms else None

    def take(self, token: int) -> bool:
        with self.lock:
            return self.vms.pop(token, None) is not None

    def close(self) -> None:
        self.closed = True

    def __len__(self) -> int:
        return len(self.vms)
