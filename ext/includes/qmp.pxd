# Sockets, waiting and clocks for one exchange over a control socket.
cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec* moment)

cdef extern from "<poll.h>" nogil:
    short POLLIN
    short POLLOUT
    struct pollfd:
        int fd
        short events
    int poll(pollfd* waiters, unsigned long count, int milliseconds)

cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT
    int MSG_NOSIGNAL
    int MSG_PEEK
    ssize_t recv(int fd, void* into, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)

cdef extern from "<string.h>" nogil:
    void* memmem(const void* data, size_t size, const void* word, size_t length)
