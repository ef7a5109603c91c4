"""Python SDK: typed access to a Swarm control plane."""
