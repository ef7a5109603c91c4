from posix.types cimport gid_t, pid_t, uid_t

from .includes.process cimport rlim_t


cdef struct Limit:
    int resource
    rlim_t soft
    rlim_t hard

cdef struct Descriptor:
    int source
    int target

# Everything the child does, laid out before it starts; parent and child share this memory until the program runs.
cdef struct Plan:
    char** argv
    char** env
    char** cgroups  # NULL-terminated paths
    const char* cwd
    Limit* limits
    Py_ssize_t limit_count
    Descriptor* fds  # sorted by target
    Py_ssize_t fd_count
    int netns
    int nice
    int death_signal
    uid_t uid
    gid_t gid
    pid_t parent
    int failure  # the child's errno
    const char* step  # the step that failed
    const char* subject  # the path it was about, or NULL

cdef pid_t start(Plan* plan, int* pidfd) noexcept nogil
