"""JSON of messages: strict parsing, tables of fields, well-known types and the binding of requests."""
