"""Ready VMs and the call that sets one running; the typed stub is the documentation of the calls."""

from os import strerror

from cython cimport final
from libc.errno cimport EAGAIN, ECONNRESET, EINTR, EMSGSIZE, EPROTO, ETIMEDOUT, errno
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp

from .includes.atomic cimport *
from .includes.qmp cimport *

cdef extern from *:
    """
    enum { EMPTY = -1, CLAIMED = -2, LINE_LIMIT = 64 * 1024 };
    """
    const int64_t EMPTY
    const int64_t CLAIMED
    const Py_ssize_t LINE_LIMIT  # bytes read for one answer, events included


@final
cdef class VmPool:
    # SAFETY: places are shared between threads without a lock. A place changes hands only by a compare-and-swap of its
    # token, and `control` is touched only by the thread that swapped it to CLAIMED, so it needs no atomicity. No thread
    # ever waits for another: a claimed place is passed over. Losing a swap means that another thread got on.
    def __cinit__(self, int capacity) -> None:
        if capacity <= 0:
            raise ValueError(f"not a capacity: {capacity}")
        self.places = <Place*>calloc(capacity, sizeof(Place))
        if self.places is NULL:
            raise MemoryError
        self.capacity = capacity
        for i in range(capacity):
            atomic_init(&self.places[i].token, EMPTY)
        atomic_init(&self.ready, 0)
        atomic_init(&self.puts, 0)
        atomic_init(&self.takes, 0)
        atomic_init(&self.refusing, 0)

    def __dealloc__(self):
        free(self.places)

    cdef bint offer(self, int64_t token, int control) noexcept nogil:
        cdef int64_t expected, seen
        cdef int i
        while not atomic_load(&self.refusing):
            seen = atomic_load(&self.takes)
            for i in range(self.capacity):
                expected = EMPTY
                if atomic_compare_exchange_strong(&self.places[i].token, &expected, CLAIMED):
                    self.places[i].control = control
                    atomic_store(&self.places[i].token, token)
                    atomic_fetch_add(&self.ready, 1)
                    atomic_fetch_add(&self.puts, 1)
                    # Closed in between: nobody may look for it any more, so it is refused unless it is gone already.
                    return not (atomic_load(&self.refusing) and self.remove(token))
            if atomic_load(&self.takes) == seen:  # nothing was freed behind the search: really full
                return False
        return False

    cdef bint claim(self, int i, int64_t token, int* control) noexcept nogil:
        """Take `token` out of place `i`; False when somebody else was first."""
        cdef int64_t expected = token
        if not atomic_compare_exchange_strong(&self.places[i].token, &expected, CLAIMED):
            return False
        control[0] = self.places[i].control
        atomic_store(&self.places[i].token, EMPTY)
        atomic_fetch_sub(&self.ready, 1)
        atomic_fetch_add(&self.takes, 1)
        return True

    cdef int64_t pop(self, int* control) noexcept nogil:
        cdef int64_t token, seen
        cdef int i
        while True:
            seen = atomic_load(&self.puts)
            for i in range(self.capacity):
                token = atomic_load(&self.places[i].token)
                if token >= 0 and self.claim(i, token, control):
                    return token
            if atomic_load(&self.puts) == seen:  # nothing came in behind the search: really empty
                return EMPTY

    cdef bint remove(self, int64_t token) noexcept nogil:
        cdef int control, i
        for i in range(self.capacity):
            if atomic_load(&self.places[i].token) == token and self.claim(i, token, &control):
                return True
        return False

    # The methods keep the interpreter lock: they take less time than giving it up and getting it back would.
    def put(self, int64_t token, int control) -> bool:
        if token < 0 or control < 0:
            raise ValueError(f"neither a token nor a descriptor is negative: {(token, control)}")
        return self.offer(token, control)

    def acquire(self) -> tuple[int, int] | None:
        cdef int control = -1
        cdef int64_t token = self.pop(&control)
        return None if token < 0 else (token, control)

    def take(self, int64_t token) -> bool:
        if token < 0:
            raise ValueError(f"not a token: {token}")
        return self.remove(token)

    def close(self) -> None:
        atomic_store(&self.refusing, 1)

    @property
    def closed(self) -> bool:
        return bool(atomic_load(&self.refusing))

    def __len__(self) -> int:
        return max(0, atomic_load(&self.ready))


# --- resuming ---

cdef int64_t now() noexcept nogil:
    cdef timespec moment
    clock_gettime(CLOCK_MONOTONIC, &moment)
    return <int64_t>moment.tv_sec * 1000000000 + moment.tv_nsec


cdef int wait(int fd, short events, int64_t deadline) noexcept nogil:
    """Wait until the socket is ready. Returns 0 or an errno."""
    cdef pollfd waiter
    cdef int64_t left
    cdef int count
    while True:
        left = deadline - now()
        if left <= 0:
            return ETIMEDOUT
        waiter.fd, waiter.events = fd, events
        count = poll(&waiter, 1, <int>((left + 999999) / 1000000))
        if count > 0:
            return 0
        if count < 0 and errno != EINTR:
            return errno


# SAFETY: these run without the interpreter lock; `data` points into a bytes object that the caller holds, `line` into
# the caller's own buffer of LINE_LIMIT bytes.
cdef int send_all(int fd, const char* data, Py_ssize_t size, int64_t deadline) noexcept nogil:
    cdef ssize_t put
    cdef int error
    while size > 0:
        put = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
        if put >= 0:
            data += put
            size -= put
        elif errno == EAGAIN:
            error = wait(fd, POLLOUT, deadline)
            if error:
                return error
        elif errno != EINTR:
            return errno
    return 0


cdef int read_line(int fd, char* line, Py_ssize_t* size, Py_ssize_t* budget, int64_t deadline) noexcept nogil:
    """Read one line and nothing beyond it: look first, then consume up to its end."""
    cdef ssize_t got
    cdef char* end = NULL
    cdef int error
    size[0] = 0
    while end is NULL:
        if budget[0] <= 0:
            return EMSGSIZE
        got = recv(fd, line + size[0], budget[0], MSG_DONTWAIT | MSG_PEEK)
        if got > 0:
            end = <char*>memchr(line + size[0], c"\n", got)
            if end is not NULL:
                got = end + 1 - (line + size[0])
            got = recv(fd, line + size[0], got, MSG_DONTWAIT)
        if got == 0:
            return ECONNRESET
        if got < 0 and errno == EAGAIN:
            error = wait(fd, POLLIN, deadline)
            if error:
                return error
        elif got < 0 and errno != EINTR:
            return errno
        elif got > 0:
            size[0] += got
            budget[0] -= got
    return 0


cdef bint begins(const char* line, Py_ssize_t size, const char* word, Py_ssize_t length) noexcept nogil:
    return size >= length and memcmp(line, word, length) == 0


cdef bint contains(const char* line, Py_ssize_t size, const char* word, Py_ssize_t length) noexcept nogil:
    return memmem(line, size, word, length) is not NULL


cdef int answer(int fd, char* line, Py_ssize_t* length, int64_t deadline) noexcept nogil:
    """Read lines until the answer, which is left in `line`. Returns 0 or an errno."""
    cdef Py_ssize_t size, budget = LINE_LIMIT
    cdef int error
    while True:
        error = read_line(fd, line, length, &budget, deadline)
        if error:
            return error
        size = length[0]
        # The key that opens the line decides; an error's text or an event's data may hold the other words.
        if begins(line, size, b'{"return"', 9):
            return 0
        if begins(line, size, b'{"error"', 8):
            return EPROTO
        if not contains(line, size, b'"event"', 7):
            return 0 if contains(line, size, b'"return"', 8) else EPROTO


def resume(int control, bytes request, int timeout_ms) -> int:
    if not request.endswith(b"\n") or request.count(b"\n") != 1:
        raise ValueError("a request is exactly one line")
    cdef const char* data = request
    cdef Py_ssize_t size = len(request), length = 0
    cdef int64_t deadline = now() + <int64_t>timeout_ms * 1000000
    cdef int64_t answered
    cdef int error
    cdef char line[65536]
    with nogil:
        error = send_all(control, data, size, deadline)
        if not error:
            error = answer(control, line, &length, deadline)
        answered = now()
    if error == EPROTO:
        raise OSError(error, f"the VMM refused the request: {line[:min(length, 200)]!r}")
    if error:
        raise OSError(error, f"resume a VM: {strerror(error)}")
    return answered
