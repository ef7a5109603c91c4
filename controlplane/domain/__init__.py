"""Pure core: data in, data out; no clock, no I/O, standard library only."""
