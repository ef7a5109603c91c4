"""Built-in workflows: one manifest each, as docs/workflows.md describes them."""
