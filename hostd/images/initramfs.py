"""The initramfs: busybox, kernel modules, the guest runtime, and the script that joins them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hostd import network
from hostd.images.recipe import runtime_files

RUNTIME = "opt/swarm/guest"

_INIT = """\
#!/bin/busybox sh
# The root file system stays read-only and shared; a tmpfs on top takes what the guest writes.
B=/bin/busybox
$B mkdir -p /proc /sys /dev /lower /rw /newroot
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
for m in {modules}; do $B insmod /mod/$m.ko; done
$B mount -t squashfs -o ro /dev/vda /lower
$B mount -t tmpfs -o mode=755 tmpfs /rw
$B mkdir -p /rw/upper /rw/work
$B mount -t overlay overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work /newroot
for d in proc sys dev; do $B mkdir -p /newroot/$d; $B mount --move /$d /newroot/$d; done
$B mkdir -p /newroot/dev/pts /newroot/dev/shm /newroot/run /newroot/tmp
$B mount -t devpts -o mode=620,ptmxmode=666 devpts /newroot/dev/pts
$B mount -t tmpfs -o mode=1777 tmpfs /newroot/dev/shm
$B mount -t tmpfs -o mode=755 tmpfs /newroot/run
$B mount -t tmpfs -o mode=1777 tmpfs /newroot/tmp
$B cp -a /{runtime} /newroot/opt/swarm/
$B hostname swarm
$B ip link set lo up
$B ip addr add {guest}/{prefix} dev eth0
$B ip link set eth0 up
$B arp -i eth0 -s {host} {host_mac}
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
exec $B switch_root -c /dev/console /newroot /usr/bin/python3 -u /{runtime}/__main__.py
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or folder (`content` None) of the archive; `mode` includes the file type."""

    name: str
    mode: int
    content: bytes | None = None


def init_script(modules: Sequence[str]) -> str:
    """The script that the kernel starts; `modules` in loading order."""
    return _INIT.format(
        modules=" ".join(modules),
        runtime=RUNTIME,
        guest=network.GUEST_IP,
        prefix=network.PREFIX,
        host=network.HOST_IP,
        host_mac=network.HOST_MAC.hex(":"),
    )


def entries(init: str, busybox: Path, modules: Sequence[Path], runtime: Path) -> Iterator[Entry]:
    """All that goes into the archive, each folder before what is in it."""
    folders: set[str] = set()
    files = [
        ("init", 0o100755, init.encode()),
        ("bin/busybox", 0o100755, busybox.read_bytes()),
        *((f"mod/{path.name}", 0o100644, path.read_bytes()) for path in modules),
        *((f"{RUNTIME}/{name}", 0o100644, content) for name, content in runtime_files(runtime)),
    ]
    for name, mode, content in files:
        for parent in reversed(Path(name).parents[:-1]):
            if parent.as_posix() not in folders:
                folders.add(parent.as_posix())
                yield Entry(parent.as_posix(), 0o040755)
        yield Entry(name, mode, content)


def archive(items: Iterable[Entry]) -> bytes:
    """A cpio archive in the kernel's "newc" format; equal entries give equal bytes.

    It stays uncompressed: unpacking under emulation costs more than loading it.
    """
    parts = [_member(inode, item) for inode, item in enumerate(items, 1)]
    parts.append(_member(0, Entry("TRAILER!!!", 0)))
    return b"".join(parts)


def _member(inode: int, item: Entry) -> bytes:
    content = item.content or b""
    name = item.name.encode() + b"\0"
    links = 2 if item.content is None else 1
    # inode, mode, uid, gid, links, mtime, size, device (two), represented device (two), length of the name, checksum
    fields = (inode, item.mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
