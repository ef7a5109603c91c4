"""A small library of books."""

from shelf.book import Book

__all__ = ["Book"]
