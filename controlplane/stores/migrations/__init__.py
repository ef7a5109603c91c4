"""Numbered steps of the schema; each holds frozen copies of the tables it makes and never changes once released."""
