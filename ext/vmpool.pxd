from libc.stdint cimport int64_t

from .includes.atomic cimport atomic_t


# One place of the pool. Whoever swaps `token` to CLAIMED owns `control` until it stores the next token.
cdef struct Place:
    atomic_t token  # >= 0: a ready VM
    int control

# These may be called without the interpreter lock, from any thread.
cdef class VmPool:
    cdef Place* places
    cdef int capacity
    cdef atomic_t ready
    cdef atomic_t puts
    cdef atomic_t takes
    cdef atomic_t refusing

    cdef bint offer(self, int64_t token, int control) noexcept nogil
    cdef bint claim(self, int place, int64_t token, int* control) noexcept nogil
    cdef int64_t pop(self, int* control) noexcept nogil
    cdef bint remove(self, int64_t token) noexcept nogil
