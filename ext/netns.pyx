"""Network namespaces, taps and the sockets opened inside them; the typed stub is the documentation of the calls."""

from dataclasses import dataclass
from os import strerror

from libc.errno cimport ENOENT, errno
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcpy, memset
from posix.fcntl cimport O_CLOEXEC, O_RDONLY, O_RDWR, O_WRONLY, open
from posix.unistd cimport close, write

from .includes.net cimport *

cdef extern from *:
    """
    static const char LOST[] = "swarm: cannot return to the thread's own network namespace\\n";
    """
    const char LOST[]
    size_t LOST_SIZE "sizeof(LOST) - 1"


@dataclass(frozen=True, slots=True)
class Net:
    ns: int
    tap: int
    listener: int
    doorbell: int

    def close(self) -> None:
        drop((self,))


# --- entering and leaving ---

# SAFETY: this and every job run without the interpreter lock on plain C memory of the caller's frame: `slot` outlives
# the call, nothing in it belongs to Python, and no other thread has its address. Between entering and leaving no
# Python code runs, so neither an exception nor a signal handler can leave the thread in the wrong namespace.
cdef int within(int ns, Job job, Slot* slot) noexcept nogil:
    """Run `job` in namespace `ns`, or in a new one for -1, and come back. Returns 0 or an errno."""
    cdef int failure
    cdef int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
    if home < 0:
        slot.step = "open the thread's own namespace"
        return errno
    if (setns(ns, CLONE_NEWNET) if ns >= 0 else unshare(CLONE_NEWNET)) != 0:
        failure = errno
        slot.step = "enter the namespace" if ns >= 0 else "create a namespace"
    else:
        failure = job(slot)
        if setns(home, CLONE_NEWNET) != 0:
            write(2, LOST, LOST_SIZE)
            abort()
    close(home)
    return failure


cdef int failed(Slot* slot, const char* step) noexcept nogil:
    slot.step = step
    return errno


# --- jobs: each runs inside the namespace; those with an ioctl use slot.datagram as their socket ---

cdef int open_datagram(Slot* slot) noexcept nogil:
    slot.datagram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)
    return failed(slot, "open a datagram socket") if slot.datagram < 0 else 0


cdef int set_up(Slot* slot) noexcept nogil:
    cdef ifreq request
    memset(&request, 0, sizeof(request))
    memcpy(request.ifr_name, slot.name, sizeof(slot.name))
    if ioctl(slot.datagram, SIOCGIFFLAGS, &request) != 0:
        return failed(slot, "read the flags of an interface")
    request.ifr_flags |= <short>IFF_UP
    return failed(slot, "bring an interface up") if ioctl(slot.datagram, SIOCSIFFLAGS, &request) != 0 else 0


cdef int set_lo_up(Slot* slot) noexcept nogil:
    cdef Slot lo = slot[0]
    memset(lo.name, 0, sizeof(lo.name))
    memcpy(lo.name, <const char*>"lo", 2)
    cdef int failure = set_up(&lo)
    slot.step = lo.step
    return failure


cdef int set_inet(Slot* slot, int request_number, uint32_t value, const char* step) noexcept nogil:
    cdef ifreq request
    cdef sockaddr_in* inet = <sockaddr_in*>&request.ifr_addr  # SAFETY: same size, inside request
    memset(&request, 0, sizeof(request))
    memcpy(request.ifr_name, slot.name, sizeof(slot.name))
    inet.sin_family = AF_INET
    inet.sin_addr.s_addr = value
    return failed(slot, step) if ioctl(slot.datagram, request_number, &request) != 0 else 0


cdef int set_address(Slot* slot) noexcept nogil:
    cdef int failure = set_inet(slot, SIOCSIFADDR, slot.ip.s_addr, "set the address of an interface")
    return failure or set_inet(slot, SIOCSIFNETMASK, slot.mask, "set the netmask of an interface")


cdef int set_mac(Slot* slot) noexcept nogil:
    cdef ifreq request
    memset(&request, 0, sizeof(request))
    memcpy(request.ifr_name, slot.name, sizeof(slot.name))
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER
    memcpy(request.ifr_hwaddr.sa_data, slot.mac, sizeof(slot.mac))
    return failed(slot, "set the MAC of an interface") if ioctl(slot.datagram, SIOCSIFHWADDR, &request) != 0 else 0


cdef int add_neighbour(Slot* slot) noexcept nogil:
    cdef arpreq request
    cdef sockaddr_in* inet = <sockaddr_in*>&request.arp_pa  # SAFETY: same size, inside request
    memset(&request, 0, sizeof(request))
    memcpy(request.arp_dev, slot.name, sizeof(slot.name))
    inet.sin_family = AF_INET
    inet.sin_addr.s_addr = slot.peer_ip.s_addr
    request.arp_ha.sa_family = ARPHRD_ETHER
    memcpy(request.arp_ha.sa_data, slot.peer_mac, sizeof(slot.peer_mac))
    request.arp_flags = ATF_PERM | ATF_COM
    return failed(slot, "add a neighbour") if ioctl(slot.datagram, SIOCSARP, &request) != 0 else 0


cdef int open_tap(Slot* slot) noexcept nogil:
    cdef ifreq request
    memset(&request, 0, sizeof(request))
    memcpy(request.ifr_name, slot.name, sizeof(slot.name))
    request.ifr_flags = <short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
    slot.tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC)
    if slot.tap < 0:
        return failed(slot, "open /dev/net/tun")
    if ioctl(slot.tap, TUNSETIFF, &request) != 0:
        return failed(slot, "create a tap")
    return set_mac(slot)


cdef int open_listener(Slot* slot) noexcept nogil:
    cdef sockaddr_in inet
    cdef int one = 1
    memset(&inet, 0, sizeof(inet))
    inet.sin_family = AF_INET
    inet.sin_port = htons(slot.port)
    inet.sin_addr = slot.ip
    slot.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)
    if slot.listener < 0:
        return failed(slot, "open a listening socket")
    if setsockopt(slot.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0:
        return failed(slot, "allow an address to be reused")
    if bind(slot.listener, <sockaddr*>&inet, sizeof(inet)) != 0:
        return failed(slot, "bind a listening socket")
    return failed(slot, "listen") if listen(slot.listener, slot.backlog) != 0 else 0


cdef int refuse_ipv6(Slot* slot) noexcept nogil:
    """Link-local addresses would be a second, unwatched way from a guest to the host."""
    cdef int failure = 0
    cdef int fd = open("/proc/sys/net/ipv6/conf/all/disable_ipv6", O_WRONLY | O_CLOEXEC)
    if fd < 0:
        return 0 if errno == ENOENT else failed(slot, "open the IPv6 switch")
    if write(fd, <const char*>"1", 1) != 1:
        failure = failed(slot, "switch IPv6 off")
    close(fd)
    return failure


cdef int open_namespace(Slot* slot) noexcept nogil:
    slot.ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
    if slot.ns < 0:
        return failed(slot, "open the new namespace")
    return refuse_ipv6(slot) or open_datagram(slot) or set_lo_up(slot)


cdef int build_all(Slot* slot) noexcept nogil:
    cdef int failure = open_namespace(slot) or open_tap(slot)
    # A persistent tap outlives its descriptor, so closing that waits for no RCU grace period; the namespace takes the
    # tap along when it is dismantled.
    if not failure and ioctl(slot.tap, TUNSETPERSIST, <void*>1) != 0:
        failure = failed(slot, "make the tap persistent")
    return failure or set_address(slot) or set_up(slot) or add_neighbour(slot) or open_listener(slot)


# --- from and to Python ---

cdef int clear(Slot* slot, str name=None) except -1:
    """An empty slot for interface `name`."""
    memset(slot, 0, sizeof(Slot))
    slot.ns = slot.tap = slot.listener = slot.datagram = -1
    if name is None:
        return 0
    cdef bytes raw = name.encode()
    if not 0 < len(raw) < IFNAMSIZ or name in (".", "..") or any(c in b"/:" or c <= 32 for c in raw) or "\0" in name:
        raise ValueError(f"not an interface name: {name!r}")
    memcpy(slot.name, <const char*>raw, len(raw))
    return 0


cdef int copy_ip(in_addr* into, str ip) except -1:
    cdef bytes raw = ip.encode()
    if "\0" in ip or inet_pton(AF_INET, raw, into) != 1:
        raise ValueError(f"not an IPv4 address: {ip!r}")
    return 0


cdef uint32_t netmask(int prefix) except? 0:
    if not 0 < prefix <= 32:
        raise ValueError(f"not a prefix length from 1 to 32: {prefix}")
    return htonl((<uint32_t>0xFFFFFFFF) << (32 - prefix))


cdef int copy_mac(unsigned char* into, bytes mac) except -1:
    if len(mac) != 6:
        raise ValueError(f"a MAC is six bytes, not {len(mac)}")
    memcpy(into, <const unsigned char*>mac, 6)
    return 0


cdef uint16_t checked_port(int port) except? 0:
    if not 0 <= port <= 65535:
        raise ValueError(f"not a port: {port}")
    return <uint16_t>port


cdef close_all(Slot* slot):
    for fd in (slot.tap, slot.listener, slot.datagram, slot.ns):
        if fd >= 0:
            close(fd)


cdef run(int ns, Job job, Slot* slot):
    """Run a job; on failure close what it had opened and raise."""
    cdef int failure
    with nogil:
        failure = within(ns, job, slot)
    if failure:
        close_all(slot)
        name = slot.name.decode() or None
        raise OSError(failure, f"{slot.step.decode()}: {strerror(failure)}", name)


cdef held(int ns):
    # -1 would silently mean "a new namespace".
    if ns < 0:
        raise ValueError(f"not a descriptor: {ns}")


cdef configure(int ns, Job job, Slot* slot):
    """Run an ioctl job with a socket of the namespace."""
    held(ns)
    run(ns, open_datagram, slot)
    run(ns, job, slot)
    close(slot.datagram)


def create() -> int:
    cdef Slot slot
    clear(&slot)
    run(-1, open_namespace, &slot)
    close(slot.datagram)
    return slot.ns


def of_process(int pid) -> int:
    path = f"/proc/{pid}/ns/net"
    cdef int fd = open(path.encode(), O_RDONLY | O_CLOEXEC)
    cdef int failure = errno
    if fd < 0:
        raise OSError(failure, f"open the namespace of a process: {strerror(failure)}", path)
    return fd


def tap(int ns, str name, bytes mac) -> int:
    cdef Slot slot
    clear(&slot, name)
    copy_mac(slot.mac, mac)
    configure(ns, open_tap, &slot)
    return slot.tap


def address(int ns, str name, str ip, int prefix) -> None:
    cdef Slot slot
    clear(&slot, name)
    copy_ip(&slot.ip, ip)
    slot.mask = netmask(prefix)
    configure(ns, set_address, &slot)


def up(int ns, str name) -> None:
    cdef Slot slot
    clear(&slot, name)
    configure(ns, set_up, &slot)


def neighbour(int ns, str name, str ip, bytes mac) -> None:
    cdef Slot slot
    clear(&slot, name)
    copy_ip(&slot.peer_ip, ip)
    copy_mac(slot.peer_mac, mac)
    configure(ns, add_neighbour, &slot)


def listener(int ns, str ip, int port, int backlog=16) -> int:
    cdef Slot slot
    clear(&slot)
    copy_ip(&slot.ip, ip)
    slot.port, slot.backlog = checked_port(port), backlog
    held(ns)
    run(ns, open_listener, &slot)
    return slot.listener


def datagram(int ns) -> int:
    cdef Slot slot
    clear(&slot)
    held(ns)
    run(ns, open_datagram, &slot)
    return slot.datagram


def build(str name, str host_ip, int prefix, bytes host_mac, str guest_ip, bytes guest_mac, int port) -> Net:
    cdef Slot slot
    clear(&slot, name)
    copy_ip(&slot.ip, host_ip)
    copy_ip(&slot.peer_ip, guest_ip)
    slot.mask, slot.port, slot.backlog = netmask(prefix), checked_port(port), 16
    copy_mac(slot.mac, host_mac)
    copy_mac(slot.peer_mac, guest_mac)
    run(-1, build_all, &slot)
    return Net(slot.ns, slot.tap, slot.listener, slot.datagram)


def drop(nets) -> None:
    # Namespaces last and together: the kernel dismantles in one sweep what it finds queued.
    order = [fd for net in nets for fd in (net.listener, net.doorbell, net.tap)] + [net.ns for net in nets]
    cdef Py_ssize_t i, count = len(order)
    cdef int* fds = <int*>malloc(count * sizeof(int) + 1)
    if fds is NULL:
        raise MemoryError
    for i in range(count):
        fds[i] = order[i]
    # SAFETY: `fds` is ours, `count` long, and freed after the loop; a slow close must not hold up other threads.
    with nogil:
        for i in range(count):
            close(fds[i])
    free(fds)
