# cython: boundscheck=True
"""A JSON value to wire bytes of a message; the typed stub is the documentation of the call."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsLongLong, PyLong_AsUnsignedLongLong
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from libc.math cimport isfinite
from libc.stdint cimport INT32_MAX, INT32_MIN, UINT32_MAX, int64_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from .includes.block cimport grow
from ext.jsontable cimport *

from ext.jsontable import Refused

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyUnicode_IS_ASCII(object text)

cdef enum:
    DEEPEST = 100  # objects and arrays within each other, as in other parsers of this format
    LEVELS = 95  # messages within each other: readers of the wire format take a hundred, and answers wrap requests

# What conversions raise for a wrong value.
_WRONG = (ValueError, TypeError, OverflowError)


cdef struct Step:
    const Step* above
    PyObject* key  # borrowed from the caller's frame; NULL in a list
    Py_ssize_t index
    int depth


cdef Step below(const Step* at, PyObject* key, Py_ssize_t index) noexcept:
    cdef Step made
    made.above, made.key, made.index, made.depth = at, key, index, at.depth + 1
    return made


cdef class _Reader:
    """`out` are the bytes so far, `seen` a stack with a byte for each field and oneof of each message that is read."""

    cdef char* out
    cdef size_t used, room
    cdef char* seen
    cdef size_t top, seen_room
    cdef str base
    cdef object faults

    def __dealloc__(self):
        PyMem_Free(self.out)
        PyMem_Free(self.seen)

    cdef int reserve(self, size_t more) except -1:
        return grow(<void**>&self.out, &self.room, self.used + more, 1, 512)

    cdef int put(self, const char* data, size_t size) except -1:
        self.reserve(size)
        memcpy(self.out + self.used, data, size)
        self.used += size
        return 0

    cdef int put_varint(self, uint64_t value) except -1:
        self.reserve(10)
        while value >= 0x80:
            self.out[self.used] = <char>(value & 0x7F | 0x80)
            self.used += 1
            value >>= 7
        self.out[self.used] = <char>value
        self.used += 1
        return 0

    cdef int put_fixed(self, const void* value, size_t width) except -1:
        """This machine's order of bytes is that of the wire."""
        return self.put(<const char*>value, width)

    cdef int put_bytes(self, bytes data) except -1:
        if data is None:
            raise TypeError("no bytes")
        return self.put(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int put_tag(self, Field field) except -1:
        return self.put_varint(<uint64_t>field.number << 3 | field.wire)

    cdef int put_length(self, size_t start) except -1:
        """Puts the length of all since `start` before it."""
        cdef size_t size = self.used - start, width = 1
        cdef size_t rest = size >> 7
        while rest:
            width += 1
            rest >>= 7
        self.reserve(width)
        memmove(self.out + start + width, self.out + start, size)
        self.used = start
        self.put_varint(size)
        self.used += size
        return 0

    cdef size_t push(self, size_t count) except? 0:
        """The index of the first of `count` zeros."""
        cdef size_t first = self.top
        grow(<void**>&self.seen, &self.seen_room, first + count, 1, 256)
        memset(self.seen + first, 0, count)
        self.top = first + count
        return first

    cdef str pointer(self, const Step* at):
        parts = []
        while at.above != NULL:
            key = str(<object>at.key if at.key != NULL else at.index)
            parts.append("/" + key.replace("~", "~0").replace("/", "~1"))
            at = at.above
        return self.base + "".join(reversed(parts))

    cdef int fault(self, const Step* at, str why) except -1:
        self.faults.add(self.pointer(at), why)
        return 0

    cdef int message(self, Table table, object json, const Step* at, int level) except -1:
        if level > LEVELS:
            return self.fault(at, "is nested too deeply")
        if table.form == OBJECT:
            return self.object(table, json, at, level)
        if table.form == BARE:
            return self.member(<Field>table.fields[0], json, at, level)
        if table.form == VALUE:
            return self.any_json(table, json, at, level)
        if table.form == TIMESTAMP or table.form == DURATION:
            return self.moment(table, json, at)
        return self.put_bytes(<bytes?>table.read(json, self.pointer(at), self.faults))

    cdef int object(self, Table table, object json, const Step* at, int level) except -1:
        cdef size_t first
        cdef Step step
        cdef Field field
        if type(json) is not dict:
            return self.fault(at, "must be an object")
        if at.depth >= DEEPEST:
            return self.fault(at, "is nested too deeply")
        first = self.push(table.size + table.oneofs)
        for key, item in (<dict>json).items():
            step = below(at, <PyObject*>key, 0)
            field = <Field>table.names.get(key)
            if field is None:
                self.fault(&step, "is not known")
            elif self.fresh(table, field, <dict>json, item, first, &step):
                self.member(field, item, &step, level)
        if table.required:
            self.check_required(table, first, at)
        self.top = first
        return 0

    cdef bint fresh(self, Table table, Field field, dict json, object item, size_t first, const Step* at) except -1:
        """Whether the field is to be read; notes that it was there."""
        cdef char* seen = self.seen + first + field.index
        cdef char* one
        if seen[0]:
            self.fault(at, f"is the same field as {rival(table, json, field, at)!r}")
            return False
        seen[0] = 1
        if item is None and not field.null:
            return False
        seen[0] = 2
        if field.oneof >= 0:
            one = self.seen + first + table.size + field.oneof
            if one[0]:
                self.fault(at, f"cannot be there with {partner(table, json, field, at)}")
                return False
            one[0] = 1
        return True

    cdef int check_required(self, Table table, size_t first, const Step* at) except -1:
        cdef Field field
        cdef Step step
        for field in table.fields:
            if field.required and self.seen[first + field.index] != 2:
                step = below(at, <PyObject*>field.name, 0)
                self.fault(&step, "is required")
        return 0

    cdef int any_json(self, Table table, object json, const Step* at, int level) except -1:
        """Of the fields of google.protobuf.Value the one for this type of JSON."""
        cdef int index
        if json is None:
            index = 0
        elif type(json) is str:
            index = 2
        elif type(json) is bool:
            index = 3
        elif type(json) is dict:
            index = 4
        else:
            index = 5 if type(json) is list else 1
        if index >= 4 and at.depth >= DEEPEST:
            return self.fault(at, "is nested too deeply")
        return self.single(<Field>table.fields[index], json, at, level)

    cdef int moment(self, Table table, object json, const Step* at) except -1:
        cdef int64_t seconds, nanos
        if table.form != TIMESTAMP or type(json) is not str or not plain_time(json, &seconds, &nanos):
            try:
                seconds, nanos = table.read(json)
            except _WRONG as error:
                self.faults.refused(self.pointer(at), error)
                return 0
        self.put(b"\x08", 1)
        self.put_varint(<uint64_t>seconds)
        self.put(b"\x10", 1)
        return self.put_varint(<uint64_t>nanos)

    cdef int member(self, Field field, object json, const Step* at, int level) except -1:
        cdef Step step
        if field.is_map:
            return self.map(field, json, at, level)
        if not field.repeated:
            return self.single(field, json, at, level)
        if type(json) is not list:
            return self.fault(at, "must be a list")
        step = below(at, NULL, 0)
        for item in <list>json:
            self.single(field, item, &step, level)
            step.index += 1
        return 0

    cdef int map(self, Field field, object json, const Step* at, int level) except -1:
        cdef Step step
        cdef size_t before, start
        if type(json) is not dict:
            return self.fault(at, "must be an object")
        if level >= LEVELS:
            return self.fault(at, "is nested too deeply")
        keys = set()
        for key, item in (<dict>json).items():
            step = below(at, <PyObject*>key, 0)
            before = self.used
            self.put_tag(field)
            start = self.used
            if self.entry_key(<Field>field.table.fields[0], key, keys, &step):
                self.single(<Field>field.table.fields[1], item, &step, level + 1)
                self.put_length(start)
            else:
                self.used = before
        return 0

    cdef bint entry_key(self, Field field, object key, set keys, const Step* at) except -1:
        """Whether it is one that was not there yet; only numbers have more than one spelling."""
        try:
            if field.kind != STRING:
                key = field.convert(key)
                if key in keys:
                    raise Refused("is there twice")
                keys.add(key)
            self.scalar(field, key)
        except _WRONG as error:
            self.faults.refused(self.pointer(at), error)
            return False
        return True

    cdef int single(self, Field field, object json, const Step* at, int level) except -1:
        cdef size_t before = self.used
        if field.kind == MESSAGE or field.kind == GROUP:
            return self.nested(field, json, at, level + 1)
        try:
            self.scalar(field, json)
        except _WRONG as error:
            self.used = before
            self.faults.refused(self.pointer(at), error)
        return 0

    cdef int nested(self, Field field, object json, const Step* at, int level) except -1:
        cdef size_t start
        self.put_tag(field)
        start = self.used
        self.message(field.table, json, at, level)
        if field.kind == GROUP:
            return self.put_varint(<uint64_t>field.number << 3 | END)
        return self.put_length(start)

    cdef int scalar(self, Field field, object json) except -1:
        """One value with its tag, converted unless it is what the field most often gets."""
        cdef Py_ssize_t size
        cdef const char* text
        self.put_tag(field)
        if field.kind == STRING:
            text = PyUnicode_AsUTF8AndSize(json if type(json) is str else <str?>field.convert(json), &size)
            self.put_varint(size)
            return self.put(text, size)
        if field.kind == BYTES:
            data = <bytes?>field.convert(json)
            self.put_varint(PyBytes_GET_SIZE(data))
            return self.put_bytes(data)
        if field.kind == DOUBLE or field.kind == FLOAT:
            return self.real(field, json)
        if field.kind == BOOL:
            return self.put_varint(json is True if type(json) is bool else field.convert(json))
        if field.kind == ENUM:
            number = field.numbers.get(json) if type(json) is str and field.numbers is not None else None
            return self.whole(field, field.convert(json) if number is None else number)
        return self.whole(field, json if type(json) is int else field.convert(json))

    cdef int real(self, Field field, object json) except -1:
        cdef double value
        cdef float half
        if field.kind == DOUBLE:
            value = <double>json if type(json) is float and isfinite(<double>json) else <double>field.convert(json)
            return self.put_fixed(&value, 8)
        half = <float><double>field.convert(json)
        return self.put_fixed(&half, 4)

    cdef int whole(self, Field field, object number) except -1:
        cdef int64_t value
        cdef uint64_t bits
        if field.kind in (UINT32, UINT64, FIXED32, FIXED64):
            bits = PyLong_AsUnsignedLongLong(number)
            if bits > UINT32_MAX and field.kind in (UINT32, FIXED32):
                raise OverflowError
        else:
            value = PyLong_AsLongLong(number)
            if not INT32_MIN <= value <= INT32_MAX and field.kind in (INT32, SINT32, SFIXED32, ENUM):
                raise OverflowError
            bits = <uint64_t>value
            if field.kind == SINT32 or field.kind == SINT64:
                bits = bits << 1 ^ (0 - (bits >> 63))
        if field.wire == VARINT:
            return self.put_varint(bits)
        return self.put_fixed(&bits, 8 if field.wire == EIGHT else 4)


cdef bint plain_time(str text, int64_t* seconds, int64_t* nanos) except -1:
    """Reads a time in UTC in the form in which it is written; all others are for Python, and so is what is wrong."""
    cdef Py_ssize_t size
    cdef const char* at
    cdef const char* form = b"0000-00-00T00:00:00"
    cdef int64_t year, month, day, hour, minute, second
    if not PyUnicode_IS_ASCII(text):
        return False
    at = PyUnicode_AsUTF8AndSize(text, &size)
    if not (size == 20 or (22 <= size <= 30 and at[19] == c".")) or at[size - 1] != c"Z":
        return False
    for i in range(19):
        if at[i] != form[i] and not (form[i] == c"0" and c"0" <= at[i] <= c"9"):
            return False
    year, month, day = number(at, 4), number(at + 5, 2), number(at + 8, 2)
    hour, minute, second = number(at + 11, 2), number(at + 14, 2), number(at + 17, 2)
    if not (year and 1 <= month <= 12 and 1 <= day <= 28 and hour < 24 and minute < 60 and second < 60):
        return False  # the last days of a month are left to the calendar
    nanos[0] = 0
    for i in range(20, 29 if size > 20 else 20):
        if i < size - 1 and not c"0" <= at[i] <= c"9":
            return False
        nanos[0] = nanos[0] * 10 + (at[i] - c"0" if i < size - 1 else 0)
    year -= month <= 2  # years begin in March here, so that leap days end them
    day += (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + 365 * year + year // 4 - year // 100 + year // 400
    seconds[0] = (day - 719469) * 86400 + hour * 3600 + minute * 60 + second
    return True


cdef int64_t number(const char* digits, int width) noexcept:
    cdef int64_t found = 0
    for i in range(width):
        found = found * 10 + digits[i] - c"0"
    return found


cdef object rival(Table table, dict json, Field field, const Step* at):
    """The key before this one that is the other spelling of the field."""
    return next(key for key in json if table.names.get(key) is field and key is not <object>at.key)


cdef object partner(Table table, dict json, Field field, const Step* at):
    """The key before this one whose field is of the same oneof."""
    cdef Field other
    for key, item in json.items():
        other = <Field>table.names.get(key)
        if other is not None and other is not field and other.oneof == field.oneof and (item is not None or other.null):
            return key
    return field.name


def read(Table table not None, json, str at not None, faults) -> bytes:
    cdef _Reader reader = _Reader()
    cdef Step root
    root.above, root.key, root.index, root.depth = NULL, NULL, 0, at.count("/")
    reader.base, reader.faults = at, faults
    reader.message(table, json, &root, 0)
    return PyBytes_FromStringAndSize(reader.out, reader.used)


def unique(list pairs not None) -> dict:
    cdef dict found = {}
    for key, value in pairs:
        found[key] = value
    if len(found) != len(pairs):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise Refused(f"has the key {key!r} twice in one object")
            seen.add(key)
    return found
