"""What generated codecs stand on: strict JSON, scalars, well-known types and the binding of requests."""
