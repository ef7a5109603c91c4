# C11 atomics; every operation is sequentially consistent, which costs nothing next to a VM.
from libc.stdint cimport int64_t

cdef extern from "<stdatomic.h>" nogil:
    ctypedef struct atomic_t "_Atomic(int64_t)":
        pass
    void atomic_init(atomic_t* cell, int64_t value)
    int64_t atomic_load(atomic_t* cell)
    void atomic_store(atomic_t* cell, int64_t value)
    int64_t atomic_fetch_add(atomic_t* cell, int64_t value)
    int64_t atomic_fetch_sub(atomic_t* cell, int64_t value)
    bint atomic_compare_exchange_strong(atomic_t* cell, int64_t* expected, int64_t wanted)
