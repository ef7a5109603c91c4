"""QEMU microvm: accelerated by KVM where a boot proves it, else emulated by TCG."""
