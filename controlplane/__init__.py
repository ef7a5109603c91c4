"""Control plane: all truth about tickets, attempts, hosts and pull requests. Never touches a VM."""
