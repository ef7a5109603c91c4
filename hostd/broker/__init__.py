"""The only process that reads what a guest sends. Unprivileged; a VM is known by the socket it came through."""
