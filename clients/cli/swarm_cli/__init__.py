"""The `swarm` command, on the Python SDK only."""
