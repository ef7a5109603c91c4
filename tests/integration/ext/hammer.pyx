"""Churns a VmPool without the interpreter lock, so that threads really meet in it."""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from ext.includes.atomic cimport *
from ext.vmpool cimport VmPool


cdef class Owners:
    """One flag per token: whether somebody holds it."""

    cdef atomic_t* held
    cdef atomic_t faults

    def __cinit__(self, int tokens):
        self.held = <atomic_t*>calloc(tokens, sizeof(atomic_t))
        atomic_init(&self.faults, 0)

    def __dealloc__(self):
        free(self.held)

    @property
    def faulty(self):
        return atomic_load(&self.faults)

    cdef void use(self, VmPool pool, int64_t token, int control) noexcept nogil:
        """Hold a token for a moment and give it back; anything wrong is a fault."""
        cdef int64_t free_ = 0
        if control != token + 3 or not atomic_compare_exchange_strong(&self.held[token], &free_, 1):
            atomic_fetch_add(&self.faults, 1)
        atomic_store(&self.held[token], 0)
        if not pool.offer(token, <int>token + 3):
            atomic_fetch_add(&self.faults, 1)


def churn(VmPool pool, Owners owners, int tokens, int rounds, uint64_t seed):
    """Acquire or take a chosen one, `rounds` times. Returns how often each worked."""
    cdef int control, i
    cdef int64_t token, acquired = 0, taken = 0
    with nogil:
        for i in range(rounds):
            seed = seed * 6364136223846793005ULL + 1442695040888963407ULL
            if (seed >> 60) < 4:
                token = <int64_t>((seed >> 33) % <uint64_t>tokens)
                if pool.remove(token):
                    taken += 1
                    owners.use(pool, token, <int>token + 3)
                continue
            token = pool.pop(&control)
            if token >= 0:
                acquired += 1
                owners.use(pool, token, control)
    return acquired, taken
