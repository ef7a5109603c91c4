"""One book."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Book:
    title: str
    author: str
    year: int
    pages: int = 0

    def __post_init__(self) -> None:
        if not self.title.strip():
            raise ValueError("a book needs a title")
