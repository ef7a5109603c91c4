from libc.stdint cimport uint64_t


cdef Py_ssize_t read_full(int fd, char* into, Py_ssize_t size, long offset) noexcept nogil
cdef int write_sparse(int fd, const char* data, Py_ssize_t size, long offset) noexcept nogil
cdef int mark_present(int pagemap, uint64_t first, uint64_t count, unsigned char* pages) noexcept nogil

cdef class Mapping:
    cdef char* base
    cdef Py_ssize_t size
