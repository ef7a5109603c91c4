"""Benchmarks that compare this system with a named peer, alternating in one run."""
