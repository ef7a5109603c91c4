"""What one message type is on the wire and in JSON; the typed stub is the documentation."""

cdef enum Kind:
    """Numbers of google.protobuf.FieldDescriptorProto.Type."""
    DOUBLE = 1
    FLOAT = 2
    INT64 = 3
    UINT64 = 4
    INT32 = 5
    FIXED64 = 6
    FIXED32 = 7
    BOOL = 8
    STRING = 9
    GROUP = 10
    MESSAGE = 11
    BYTES = 12
    UINT32 = 13
    ENUM = 14
    SFIXED32 = 15
    SFIXED64 = 16
    SINT32 = 17
    SINT64 = 18

cdef enum Form:
    OBJECT = 0
    BARE = 1
    VALUE = 2
    TIMESTAMP = 3
    DURATION = 4
    FOREIGN = 5

cdef enum Wire:
    VARINT = 0
    EIGHT = 1
    BYTES_OF = 2
    START = 3
    END = 4
    FOUR = 5


cdef class Field:
    cdef readonly str name
    cdef bytes key  # the name as it stands in an object, with the comma before and the colon after it
    cdef unsigned int number
    cdef int kind, wire, oneof
    cdef Py_ssize_t index
    cdef bint repeated, presence, required, null, closed
    cdef bytes absent
    cdef Table table  # of a message, or of the entries of a map
    cdef bint is_map
    cdef dict numbers, texts
    cdef object convert, text


cdef class Table:
    cdef readonly str name
    cdef int form
    cdef tuple fields
    cdef dict numbers, names
    cdef Py_ssize_t size, oneofs
    cdef bint required
    cdef object write, read
