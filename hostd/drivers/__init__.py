"""VM drivers: what turns a slot and a template into a running machine."""
