"""The one stream between this host and the control plane, and the calls beside it."""
