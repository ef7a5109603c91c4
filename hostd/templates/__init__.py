"""Templates: machines that were booted once, saved while waiting for work, and are restored many times."""
