"""The edge of the control plane: one pipeline for every public call, and gRPC on top of it."""
