"""Counts calls: in this process, or shared by all replicas in Redis."""
