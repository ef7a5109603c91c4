"""The network inside each VM. Baked into images and templates: a VM is told apart by its namespace, never by these."""

from __future__ import annotations

TAP = "tap0"
HOST_IP = "172.16.0.1"
GUEST_IP = "172.16.0.2"
PREFIX = 30
HOST_MAC = bytes.fromhex("0600ac100001")
GUEST_MAC = bytes.fromhex("0600ac100002")
PORT = 8000
"""TCP port of the broker's socket on the host's address."""
DOORBELL = 7
"""UDP port on which the guest runtime waits to be woken."""
