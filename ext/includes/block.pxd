# Memory that grows as it fills.
from cpython.mem cimport PyMem_Realloc


cdef inline int grow(void** block, size_t* room, size_t needed, size_t width, size_t least) except -1:
    """Room for `needed` items of `width` bytes: at least twice what there was, so that filling it is linear."""
    cdef size_t wider
    cdef void* grown
    if needed <= room[0]:
        return 0
    wider = max(2 * room[0], needed, least)
    grown = PyMem_Realloc(block[0], wider * width)
    if grown == NULL:
        raise MemoryError
    block[0], room[0] = grown, wider
    return 0
