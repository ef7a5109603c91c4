"""Each RPC bound to its use case, one module per service."""
