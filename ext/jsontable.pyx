# cython: boundscheck=True
"""What one message type is on the wire and in JSON; the typed stub is the documentation."""

_WIRES = {
    **dict.fromkeys((DOUBLE, FIXED64, SFIXED64), EIGHT),
    **dict.fromkeys((FLOAT, FIXED32, SFIXED32), FOUR),
    **dict.fromkeys((STRING, BYTES, MESSAGE), BYTES_OF),
    GROUP: START,
}


class Refused(ValueError):
    pass


cdef class Field:
    def __init__(
        self, str name, unsigned int number, int kind, *, bint repeated=False, bint is_map=False, bint presence=False,
        bint required=False, bint null=False, bint closed=False, int oneof=-1, bytes absent=b"null",
        Table table=None, dict numbers=None, dict texts=None, convert=None, text=None,
    ):
        if not 1 <= kind <= 18 or not 1 <= number < 1 << 29 or oneof < -1:
            raise ValueError("no field of a message")
        if (table is None) == (kind in (MESSAGE, GROUP) or is_map) or (is_map and not repeated):
            raise ValueError("a field has a table when it holds messages")
        self.name, self.number, self.kind = name, number, kind
        self.wire = _WIRES.get(kind, VARINT)
        self.key = f',"{name}":'.encode()
        self.repeated, self.is_map, self.presence, self.required = repeated, is_map, presence, required
        self.null, self.closed, self.oneof, self.absent = null, closed, oneof, absent
        self.table, self.numbers, self.texts = table, numbers, texts
        self.convert, self.text = convert, text


cdef class Table:
    def __init__(self, str name, int form=OBJECT, *, write=None, read=None):
        if form not in (OBJECT, BARE, VALUE, TIMESTAMP, DURATION, FOREIGN):
            raise ValueError("no form of a message")
        self.name, self.form, self.write, self.read = name, form, write, read
        self.fields, self.numbers, self.names = (), {}, {}

    def fill(self, tuple fields not None, dict names not None):
        cdef Field field
        needed = {BARE: 1, VALUE: 6, TIMESTAMP: 2, DURATION: 2}.get(self.form, 0)
        if self.fields or len(fields) < needed:
            raise ValueError("a table is filled once, with all fields of its form")
        for field in fields:
            field.index = self.size
            self.size += 1
            self.oneofs = max(self.oneofs, field.oneof + 1)
            self.required = self.required or field.required
            self.numbers[field.number] = field
        if any(not isinstance(field, Field) or field not in fields for field in names.values()):
            raise ValueError("a name stands for a field of the table")
        self.fields, self.names = fields, names
