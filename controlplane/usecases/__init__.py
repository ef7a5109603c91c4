"""What callers, hosts and clocks make the system do, as functions over the store's unit of work."""
