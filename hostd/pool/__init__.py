"""Keeps VMs ready: slots, water marks, tiers, the reaper, recovery. `VmLayer` is the face of it."""
