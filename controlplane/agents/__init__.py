"""Built-in agents: one folder each, with a manifest and an executable that runs inside a VM."""
