"""The processor's time stamp counter; the typed stub is the documentation of the call."""

from libc.stdint cimport int64_t, uint64_t

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC_RAW
    int clock_gettime(int clock, timespec* now)
    int clock_nanosleep(int clock, int flags, const timespec* request, timespec* remain)
    int CLOCK_MONOTONIC

cdef extern from *:
    """
    #if defined(__x86_64__)
    #include <x86intrin.h>
    static inline uint64_t ticks(void) { return __rdtsc(); }
    enum { HAS_TICKS = 1 };
    #else
    static inline uint64_t ticks(void) { return 0; }
    enum { HAS_TICKS = 0 };
    #endif
    enum { TRIES = 32, PAUSE_NS = 50000000 };
    """
    uint64_t ticks() nogil
    int HAS_TICKS
    const int TRIES
    const long PAUSE_NS


# SAFETY: plain C on the caller's frame, no Python object is touched.
cdef void reading(uint64_t* counter, int64_t* nanoseconds) noexcept nogil:
    """Both clocks at one moment: of several readings the one that took least, so that no interruption lies inside."""
    cdef uint64_t before, after, least = <uint64_t>-1
    cdef timespec now
    cdef int i
    for i in range(TRIES):
        before = ticks()
        clock_gettime(CLOCK_MONOTONIC_RAW, &now)
        after = ticks()
        if after - before < least:
            least = after - before
            counter[0] = before + (after - before) // 2
            nanoseconds[0] = now.tv_sec * 1000000000 + now.tv_nsec


def tsc_khz() -> int:
    cdef uint64_t first, last
    cdef int64_t began, ended
    cdef timespec pause
    if not HAS_TICKS:
        return 0
    pause.tv_sec, pause.tv_nsec = 0, PAUSE_NS
    with nogil:
        reading(&first, &began)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL)
        reading(&last, &ended)
    return (last - first) * 1000000 // <uint64_t>(ended - began)
