"""Brings what is outside into line with what is stored: leases, effects."""
