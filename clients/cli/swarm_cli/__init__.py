"""The `swarm` command, built on the Python SDK only."""
