"""QEMU's command line, as a pure function of what the machine shall be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from hostd import network
from hostd.ports import VmSize

MIB = 1 << 20


class Accel(StrEnum):
    KVM = "kvm"
    TCG = "tcg"


class Fd(IntEnum):
    """Where a VMM finds what it is given; it opens nothing else after its firmware."""

    LOG = 2
    CONTROL = 3
    CONSOLE = 4
    TAP = 5
    ROOT = 6
    SCRATCH = 7
    KERNEL = 8
    INITRD = 9
    MEMORY = 10


class Memory(StrEnum):
    """Guest memory: of its own, a memfd that is being filled, or a private view of a sealed memfd."""

    OWN = "own"
    SHARED = "shared"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class Machine:
    """`incoming`: wait for a saved state instead of booting. `tsc_khz`: frequency of the host's counter, 0: unknown."""

    name: str
    accel: Accel
    size: VmSize
    memory: Memory
    incoming: bool
    tsc_khz: int = 0


_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
# Bounds the translated code of one emulated VM; beyond it QEMU starts afresh.
_ACCEL = {Accel.KVM: "kvm", Accel.TCG: "tcg,thread=multi,tb-size=128"}
# The hardware generator seeds the guest's kernel at boot, which would wait for it otherwise.
_CPU = {Accel.KVM: "host", Accel.TCG: "qemu64,+rdrand"}


def machine_type(accel: Accel) -> str:
    """Names what a saved state fits; changes whenever a line below changes the devices."""
    return f"microvm-1/{accel}/{_CPU[accel]}"


def command_line(program: str, machine: Machine) -> list[str]:
    """Argv. Memory is in the size's MiB; every file is one of `Fd`."""
    return [
        program,
        *("-name", f"guest={machine.name}"),
        *("-sandbox", _SANDBOX),
        *["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
        *("-M", "microvm,memory-backend=ram,rtc=on,acpi=on,pit=on,pic=on,isa-serial=on,x-option-roms=on"),
        *("-accel", _ACCEL[machine.accel]),
        *("-cpu", _CPU[machine.accel]),
        *("-smp", str(machine.size.vcpus)),
        *("-m", str(machine.size.memory_mib)),
        *("-object", _memory(machine)),
        *_disk("root", Fd.ROOT, read_only=True),
        *_disk("scratch", Fd.SCRATCH, read_only=False),
        *("-netdev", f"tap,id=net,fd={Fd.TAP:d}"),
        *("-device", f"virtio-net-device,netdev=net,mac={network.GUEST_MAC.hex(':')}"),
        *_server("console", Fd.CONSOLE),
        *("-serial", "chardev:console"),
        *_server("control", Fd.CONTROL),
        *("-mon", "chardev=control,mode=control"),
        *(("-incoming", "defer") if machine.incoming else _boot(machine)),
    ]


def boot_arguments(machine: Machine) -> str:
    """The guest kernel's command line."""
    words = ["console=ttyS0", "quiet", "panic=-1", "reboot=t", "ipv6.disable=1", "random.trust_cpu=on"]
    if machine.accel is Accel.TCG:
        words.append("mitigations=off")  # there is no speculation to defend against
        if machine.tsc_khz:
            # Its only clock that ticks before this is known; measured by itself on a busy host, the boot hangs.
            words.append(f"tsc_early_khz={machine.tsc_khz}")
    return " ".join(words)


def _boot(machine: Machine) -> list[str]:
    """Only a boot loads kernel and initramfs; a restored guest has long used them, and each copy is private memory."""
    kernel, initrd = f"/proc/self/fd/{Fd.KERNEL:d}", f"/proc/self/fd/{Fd.INITRD:d}"
    return ["-S", "-kernel", kernel, "-initrd", initrd, "-append", boot_arguments(machine)]


def _memory(machine: Machine) -> str:
    size = machine.size.memory_mib * MIB
    if machine.memory is Memory.OWN:
        return f"memory-backend-ram,id=ram,size={size}"
    share = "on" if machine.memory is Memory.SHARED else "off"
    return f"memory-backend-file,id=ram,size={size},mem-path=/proc/self/fd/{Fd.MEMORY:d},share={share}"


def _disk(name: str, fd: Fd, *, read_only: bool) -> list[str]:
    # The raw format is forced: a probed one could name files of the host.
    mode = "on" if read_only else "off"
    file = f"file.driver=file,file.filename=/dev/fdset/{fd:d},file.locking=off,file.discard=unmap,file.aio=threads"
    return [
        *("-add-fd", f"fd={fd:d},set={fd:d}"),
        *("-blockdev", f"driver=raw,node-name={name},read-only={mode},discard=unmap,{file}"),
        *("-device", f"virtio-blk-device,drive={name}"),
    ]


def _server(name: str, fd: Fd) -> list[str]:
    """A character device on an inherited listening socket, so that a restarted hostd can connect again."""
    return ["-chardev", f"socket,id={name},fd={fd:d},server=on,wait=off"]
