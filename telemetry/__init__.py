"""What control plane and hosts say of themselves alike: log lines, what never stands in one, and traces."""
