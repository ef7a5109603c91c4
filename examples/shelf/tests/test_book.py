import unittest

from shelf import Book


class BookTest(unittest.TestCase):
    def test_a_book_keeps_what_it_was_given(self):
        book = Book("Momo", "Michael Ende", 1973, 304)

        self.assertEqual(("Momo", 1973), (book.title, book.year))

    def test_a_book_without_a_title_is_refused(self):
        with self.assertRaises(ValueError):
            Book("  ", "Nobody", 2000)
