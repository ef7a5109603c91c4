"""Forges: where pull requests live. `local` keeps them in our store and the branches in any git repository."""
