# Kernel interfaces to memory files and mappings.
from libc.stdint cimport uint64_t

cdef extern from "<sys/mman.h>" nogil:
    int PROT_READ
    int MAP_PRIVATE
    int MADV_POPULATE_READ
    int MFD_CLOEXEC
    int MFD_ALLOW_SEALING
    void* MAP_FAILED
    void* mmap(void* address, size_t size, int protection, int flags, int fd, long offset)
    int munmap(void* address, size_t size)
    int madvise(void* address, size_t size, int advice)
    int memfd_create(const char* name, unsigned int flags)

cdef extern from "<fcntl.h>" nogil:
    int F_ADD_SEALS
    int F_SEAL_GROW
    int F_SEAL_SEAL
    int F_SEAL_SHRINK
    int F_SEAL_WRITE
    int O_CLOEXEC
    int O_RDONLY
    int open(const char* path, int flags, ...)
    int fcntl(int fd, int command, ...)

cdef extern from "<unistd.h>" nogil:
    int close(int fd)
    int ftruncate(int fd, long size)
    ssize_t pread(int fd, void* into, size_t size, long offset)
    ssize_t pwrite(int fd, const void* data, size_t size, long offset)
