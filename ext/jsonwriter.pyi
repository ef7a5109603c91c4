"""Wire bytes of a message to JSON."""

from ext.jsontable import Table

def write(table: Table, wire: bytes) -> bytes:
    """The JSON of the message, all of it ASCII; fields without presence are always there.

    `Refused` where JSON has no such value, and for bytes that are no message. Needs memory in proportion to its
    input, and no more than 200 messages within each other.
    """
