"""Turns what people write into tickets."""
