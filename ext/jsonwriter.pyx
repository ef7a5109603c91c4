# cython: boundscheck=True
"""Wire bytes of a message to JSON; the typed stub is the documentation of the call.

Two passes over each message: the first notes where its fields are, the second writes them in the order of the table.
"""

from binascii import b2a_base64
from json.encoder import encode_basestring_ascii

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport isfinite, isnan
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from .includes.block cimport grow
from ext.jsontable cimport *

from ext.jsontable import Refused

cdef extern from "Python.h":
    char* PyOS_double_to_string(double value, char code, int precision, int flags, int* kind) except NULL
    int Py_DTSF_ADD_DOT_0

cdef enum:
    DEEPEST = 200  # messages within each other: readers of the wire format take a hundred

cdef int64_t FIRST = -62135596800  # the years 1 to 9999
cdef int64_t LAST = 253402300799


cdef struct Span:
    const uint8_t* at  # NULL for a field that is not there
    const uint8_t* end


cdef int broken() except -1:
    raise Refused("holds bytes that are no message")


cdef int varint(Span* rest, uint64_t* value) except -1:
    """Takes one off the front."""
    cdef int shift = 0
    value[0] = 0
    while rest.at < rest.end and shift < 64:
        value[0] |= (<uint64_t>(rest.at[0] & 0x7F)) << shift
        rest.at += 1
        if not (rest.at - 1)[0] & 0x80:
            return 0
        shift += 7
    return broken()


cdef int fixed(Span* rest, size_t width, uint64_t* value) except -1:
    """Takes a little-endian number off the front."""
    cdef size_t i
    if <size_t>(rest.end - rest.at) < width:
        return broken()
    value[0] = 0
    for i in range(width):
        value[0] |= <uint64_t>rest.at[i] << 8 * i
    rest.at += width
    return 0


cdef int tag(Span* rest, uint32_t* number, int* wire) except -1:
    cdef uint64_t found
    varint(rest, &found)
    number[0], wire[0] = <uint32_t>(found >> 3), <int>(found & 7)
    return broken() if found >> 32 or not number[0] else 0


cdef int content(Span* rest, uint32_t number, int wire, int depth, Span* inside) except -1:
    """Takes the value behind a tag off the front; `inside` is what it holds."""
    cdef uint64_t taken
    inside.at = rest.at
    if wire == VARINT:
        varint(rest, &taken)
    elif wire == EIGHT or wire == FOUR:
        fixed(rest, 8 if wire == EIGHT else 4, &taken)
    elif wire == BYTES_OF:
        varint(rest, &taken)
        if taken > <uint64_t>(rest.end - rest.at):
            return broken()
        inside.at = rest.at
        rest.at += taken
    elif wire == START and depth < DEEPEST:
        return group(rest, number, depth + 1, inside)
    else:
        return broken()
    inside.end = rest.at
    return 0


cdef int group(Span* rest, uint32_t number, int depth, Span* inside) except -1:
    """The same for a group, up to its end tag."""
    cdef uint32_t inner
    cdef Span passed
    cdef int wire
    inside.at = rest.at
    while True:
        inside.end = rest.at
        tag(rest, &inner, &wire)
        if wire == END:
            return broken() if inner != number else 0
        content(rest, inner, wire, depth, &passed)


cdef class _Writer:
    """`out` is the JSON so far, `spans` a stack with one of each field of each message that is being written."""

    cdef char* out
    cdef size_t used, room
    cdef Span* spans
    cdef size_t top, depth_room

    def __dealloc__(self):
        PyMem_Free(self.out)
        PyMem_Free(self.spans)

    cdef int reserve(self, size_t more) except -1:
        return grow(<void**>&self.out, &self.room, self.used + more, 1, 1024)

    cdef int put(self, const char* data, size_t size) except -1:
        self.reserve(size)
        memcpy(self.out + self.used, data, size)
        self.used += size
        return 0

    cdef int put_char(self, char one) except -1:
        self.reserve(1)
        self.out[self.used] = one
        self.used += 1
        return 0

    cdef int put_bytes(self, bytes data) except -1:
        if data is None:
            raise TypeError("JSON is text")
        return self.put(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int close(self, size_t start, char opening, char closing) except -1:
        """Ends what was written since `start` as items that each have a comma before them."""
        if self.used == start:
            self.put_char(opening)
        self.out[start] = opening
        return self.put_char(closing)

    cdef size_t push(self, size_t count) except? 0:
        """Room for spans of `count` fields, none of them there; the index of the first."""
        cdef size_t first = self.top
        grow(<void**>&self.spans, &self.depth_room, first + count, sizeof(Span), 64)
        memset(self.spans + first, 0, count * sizeof(Span))
        self.top = first + count
        return first

    cdef int message(self, Table table, Span rest, int depth) except -1:
        cdef size_t first
        if depth > DEEPEST:
            raise Refused("is nested too deeply")
        if table.form == FOREIGN:
            return self.put_bytes((<str?>table.write(PyBytes_FromStringAndSize(<const char*>rest.at, rest.end - rest.at))).encode())
        first = self.push(table.size)
        self.find(table, rest, first, depth)
        if table.form == OBJECT:
            self.object(table, first, depth)
        elif table.form == BARE:
            self.bare(<Field>table.fields[0], self.spans[first], depth)
        elif table.form == VALUE:
            self.any_json(table, first, depth)
        else:
            self.moment(table, first)
        self.top = first
        return 0

    cdef int find(self, Table table, Span rest, size_t first, int depth) except -1:
        """Notes the last value of each single field, and where a repeated one begins and ends."""
        cdef uint32_t number
        cdef int wire
        cdef Field field
        cdef Span inside
        cdef Span* noted
        cdef const uint8_t* start
        while rest.at < rest.end:
            start = rest.at
            tag(&rest, &number, &wire)
            content(&rest, number, wire, depth, &inside)
            field = <Field>table.numbers.get(number)
            if field is None or not takes(field, wire):
                continue
            noted = &self.spans[first + field.index]
            if not field.repeated:
                if not field.closed or known(field, inside):
                    noted[0] = inside
                continue
            if noted.at == NULL:
                noted.at = start
            noted.end = rest.at
        return 0

    cdef int object(self, Table table, size_t first, int depth) except -1:
        cdef size_t start = self.used
        cdef Field field
        cdef Span found
        for field in table.fields:
            found = self.spans[first + field.index]
            if found.at != NULL or not field.presence:
                self.put_bytes(field.key)
                self.bare(field, found, depth)
        return self.close(start, b"{", b"}")

    cdef int bare(self, Field field, Span found, int depth) except -1:
        if found.at == NULL:
            return self.put_bytes(field.absent)
        if field.is_map:
            return self.map(field, found, depth)
        return self.list(field, found, depth) if field.repeated else self.single(field, found, depth)

    cdef int any_json(self, Table table, size_t first, int depth) except -1:
        cdef Field field
        cdef Span found
        for field in table.fields:
            found = self.spans[first + field.index]
            if found.at == NULL:
                continue
            if field.kind == DOUBLE and not isfinite(as_double(found)):
                raise Refused("holds a number that JSON does not have")
            return self.single(field, found, depth)
        return self.put(b"null", 4)

    cdef int moment(self, Table table, size_t first) except -1:
        cdef uint64_t seconds = 0, nanos = 0
        cdef Span* found = self.spans + first
        if found[0].at != NULL:
            varint(&found[0], &seconds)
        if found[1].at != NULL:
            varint(&found[1], &nanos)
        if table.form == TIMESTAMP:
            return self.time(<int64_t>seconds, <int32_t>nanos)
        return self.put_bytes((<str?>table.write(<int64_t>seconds, <int32_t>nanos)).encode())

    cdef int time(self, int64_t seconds, int32_t nanos) except -1:
        """RFC 3339 in UTC, with as few of three, six or nine digits behind the seconds as say it."""
        cdef char text[32]
        cdef int size = 20, width
        if not FIRST <= seconds <= LAST:
            raise Refused("is outside of the years 1 to 9999")
        if not 0 <= nanos < 1000000000:
            raise Refused("has nanoseconds of more than a second")
        clock(text, seconds)
        if nanos:
            width = 9 if nanos % 1000 else 6 if nanos % 1000000 else 3
            digits_at(text + 21, width, nanos // (1 if width == 9 else 1000 if width == 6 else 1000000))
            text[20] = c"."
            size = 21 + width
        text[size], text[size + 1] = c"Z", c'"'
        return self.put(text, size + 2)

    cdef int list(self, Field field, Span rest, int depth) except -1:
        cdef size_t start = self.used, mark
        cdef uint32_t number
        cdef int wire
        cdef Span inside
        while rest.at < rest.end:
            tag(&rest, &number, &wire)
            content(&rest, number, wire, depth, &inside)
            if number == field.number and wire != field.wire and takes(field, wire):
                self.packed(field, inside)
            elif number == field.number and wire == field.wire and (not field.closed or known(field, inside)):
                self.put_char(b",")
                self.single(field, inside, depth)
        return self.close(start, b"[", b"]")

    cdef int packed(self, Field field, Span rest) except -1:
        cdef Span one
        while rest.at < rest.end:
            content(&rest, field.number, field.wire, 0, &one)
            if not field.closed or known(field, one):
                self.put_char(b",")
                self.number(field, one)
        return 0

    cdef int map(self, Field field, Span rest, int depth) except -1:
        cdef size_t start = self.used
        cdef uint32_t number
        cdef int wire
        cdef Span inside
        while rest.at < rest.end:
            tag(&rest, &number, &wire)
            content(&rest, number, wire, depth, &inside)
            if number == field.number and wire == BYTES_OF:
                self.entry(field.table, inside, depth + 1)
        return self.close(start, b"{", b"}")

    cdef int entry(self, Table table, Span rest, int depth) except -1:
        cdef size_t first = self.push(table.size)
        cdef Field key = <Field>table.fields[0], value = <Field>table.fields[1]
        cdef Span empty, found
        self.find(table, rest, first, depth)
        found = self.spans[first + 1]
        if found.at != NULL or not value.closed:  # else it has a number without a name, and counts as unknown
            self.put_char(b",")
            self.entry_key(key, self.spans[first])
            self.put_char(b":")
            if found.at == NULL and value.kind == MESSAGE:
                empty.at = empty.end = rest.end
                self.single(value, empty, depth)
            else:
                self.bare(value, found, depth)
        self.top = first
        return 0

    cdef int entry_key(self, Field key, Span found) except -1:
        """Keys are strings, whatever they are on the wire."""
        if key.kind == STRING or long(key.kind):
            return self.bare(key, found, 0)
        self.put_char(b'"')
        self.bare(key, found, 0)
        return self.put_char(b'"')

    cdef int single(self, Field field, Span found, int depth) except -1:
        if field.kind == MESSAGE or field.kind == GROUP:
            return self.message(field.table, found, depth + 1)
        if field.kind == STRING:
            return self.string(found)
        if field.kind == BYTES:
            data = PyBytes_FromStringAndSize(<const char*>found.at, found.end - found.at)
            self.put_char(b'"')
            self.put_bytes(b2a_base64(data, newline=False))
            return self.put_char(b'"')
        return self.number(field, found)

    cdef int string(self, Span found) except -1:
        cdef size_t size = found.end - found.at, i
        for i in range(size):
            if not 0x20 <= found.at[i] <= 0x7E or found.at[i] == c'"' or found.at[i] == c"\\":
                return self.escaped(found)
        self.reserve(size + 2)
        self.put_char(b'"')
        self.put(<const char*>found.at, size)
        return self.put_char(b'"')

    cdef int escaped(self, Span found) except -1:
        try:
            text = PyUnicode_DecodeUTF8(<char*>found.at, found.end - found.at, NULL)
        except UnicodeDecodeError:
            raise Refused("holds text that is not UTF-8") from None
        return self.put_bytes((<str>encode_basestring_ascii(text)).encode())

    cdef int number(self, Field field, Span found) except -1:
        cdef uint64_t value
        if field.kind == DOUBLE:
            return self.double(as_double(found))
        if field.kind == FLOAT:
            return self.put_bytes((<str?>field.text(as_float(found))).encode())
        integer(field, found, &value)
        if field.kind == BOOL:
            return self.put(b"true", 4) if value else self.put(b"false", 5)
        if field.kind == ENUM:
            return self.enum(field, <int32_t>value)
        if long(field.kind):
            self.put_char(b'"')
        self.digits(value, signed(field.kind))
        return self.put_char(b'"') if long(field.kind) else 0

    cdef int enum(self, Field field, int32_t value) except -1:
        if field.texts is None:
            return self.put(b"null", 4)
        text = field.texts.get(value)
        return self.put_bytes(<bytes>text) if text is not None else self.digits(<uint64_t><int64_t>value, True)

    cdef int double(self, double value) except -1:
        cdef char* text
        if not isfinite(value):
            return self.put_bytes(b'"NaN"' if isnan(value) else b'"Infinity"' if value > 0 else b'"-Infinity"')
        text = PyOS_double_to_string(value, b"r", 0, Py_DTSF_ADD_DOT_0, NULL)
        try:
            return self.put_bytes(<bytes>text)
        finally:
            PyMem_Free(text)

    cdef int digits(self, uint64_t value, bint with_sign) except -1:
        cdef char text[20]
        cdef int at = 20
        if with_sign and <int64_t>value < 0:
            self.put_char(b"-")
            value = 0 - value
        while True:
            at -= 1
            text[at] = <char>(c"0" + value % 10)
            value //= 10
            if not value:
                break
        return self.put(text + at, 20 - at)


cdef void digits_at(char* text, int width, uint32_t value) noexcept:
    while width:
        width -= 1
        text[width] = <char>(c"0" + value % 10)
        value //= 10


cdef void clock(char* text, int64_t seconds) noexcept:
    """A quote, date and time of day, in 20 characters; years begin in March here, so that leap days end them."""
    cdef int64_t since = seconds - FIRST + 306 * 86400  # of the first of March of the year 0
    cdef uint32_t day = <uint32_t>(since // 86400), second = <uint32_t>(since % 86400)
    cdef uint32_t era = day // 146097
    cdef uint32_t of_era = day % 146097
    cdef uint32_t year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    cdef uint32_t of_year = of_era - (365 * year + year // 4 - year // 100)
    cdef uint32_t month = (5 * of_year + 2) // 153
    memcpy(text, b'"0000-00-00T00:00:00', 20)
    digits_at(text + 9, 2, of_year - (153 * month + 2) // 5 + 1)
    month = month + 3 if month < 10 else month - 9
    digits_at(text + 6, 2, month)
    digits_at(text + 1, 4, year + 400 * era + (month <= 2))
    digits_at(text + 12, 2, second // 3600)
    digits_at(text + 15, 2, second // 60 % 60)
    digits_at(text + 18, 2, second % 60)


cdef bint takes(Field field, int wire) noexcept:
    """Whether a value of this wire type is one of the field; numbers in lists may stand in one block."""
    return wire == field.wire or (field.repeated and wire == BYTES_OF and field.wire != START)


cdef bint long(int kind) noexcept:
    return kind in (INT64, UINT64, FIXED64, SFIXED64, SINT64)


cdef bint signed(int kind) noexcept:
    return kind not in (UINT32, UINT64, FIXED32, FIXED64)


cdef int integer(Field field, Span found, uint64_t* value) except -1:
    """The number itself, with its sign extended."""
    if field.wire == VARINT:
        varint(&found, value)
    else:
        fixed(&found, 8 if field.wire == EIGHT else 4, value)
    if field.kind == SINT32 or field.kind == SINT64:
        value[0] = (value[0] >> 1) ^ (0 - (value[0] & 1))
    if field.kind in (INT32, SINT32, SFIXED32, ENUM):
        value[0] = <uint64_t><int64_t><int32_t>value[0]
    elif field.kind == UINT32:
        value[0] = <uint32_t>value[0]
    return 0


cdef bint known(Field field, Span found) except -1:
    """Whether a closed enum has a name for the number; else protobuf keeps it among unknown fields.

    A block of numbers is looked through when it is written.
    """
    cdef uint64_t value
    if found.end == found.at:
        return False
    varint(&found, &value)
    return field.texts is None or <int32_t>value in field.texts


cdef double as_double(Span found) except? -1:
    cdef uint64_t bits = 0
    cdef double value
    fixed(&found, 8, &bits)
    memcpy(&value, &bits, 8)
    return value


cdef double as_float(Span found) except? -1:
    cdef uint64_t bits = 0
    cdef float value
    fixed(&found, 4, &bits)
    memcpy(&value, &bits, 4)  # its first half is the low one, on this order of bytes
    return value


def write(Table table not None, bytes wire not None) -> bytes:
    cdef _Writer writer = _Writer()
    cdef Span whole
    whole.at = <const uint8_t*>PyBytes_AS_STRING(wire)
    whole.end = whole.at + PyBytes_GET_SIZE(wire)
    writer.message(table, whole, 0)
    return PyBytes_FromStringAndSize(writer.out, writer.used)
