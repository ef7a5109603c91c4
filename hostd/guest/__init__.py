"""The runtime inside a VM: woken by a datagram, it fetches its work, runs one agent and reports.

Standard library only, and nothing else of hostd.
"""
