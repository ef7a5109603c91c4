"""Backups: one archive that is made while the control plane runs, verified, and restored under a new epoch."""
