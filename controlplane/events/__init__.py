"""Wake-ups between the parts of one process; what happened is read from the event table."""
