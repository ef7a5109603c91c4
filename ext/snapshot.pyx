"""Sealed memory images; the typed stub is the documentation of the calls."""

import io
import os
from hashlib import sha256 as new_sha256

from cython cimport final
from libc.errno cimport EAGAIN, EINTR, EIO, errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp

from .includes.memory cimport *

cdef extern from *:
    """
    enum { PAGE = 4096, CHUNK = 1 << 20, ENTRIES = 8192 };
    static const char ZEROS[PAGE];
    """
    const Py_ssize_t PAGE
    const Py_ssize_t CHUNK  # what one step reads, hashes and writes
    const int ENTRIES  # page map entries read at once
    const char ZEROS[]

cdef uint64_t PRESENT = 1ULL << 63
cdef uint64_t SWAPPED = 1ULL << 62


class ImageMismatch(ValueError):
    pass


cdef failure(str step, int number, str subject=None):
    return OSError(number, f"{step}: {os.strerror(number)}", subject)


# --- copying ---

# SAFETY: the two functions below work without the interpreter lock on a buffer that the caller owns and nobody else
# writes; `size` is the buffer's length. They return a count or 0, or the negative errno.
cdef Py_ssize_t read_full(int fd, char* into, Py_ssize_t size, long offset) noexcept nogil:
    """Read until `size` bytes or the end of the file."""
    cdef Py_ssize_t done = 0
    cdef Py_ssize_t got
    while done < size:
        got = pread(fd, into + done, size - done, offset + done)
        if got < 0 and errno == EINTR:
            continue
        if got < 0:
            return -errno
        if got == 0:
            break
        done += got
    return done


cdef inline bint is_zero(const char* data, Py_ssize_t size) noexcept nogil:
    return memcmp(data, ZEROS, size) == 0


cdef int write_sparse(int fd, const char* data, Py_ssize_t size, long offset) noexcept nogil:
    """Write the pages that are not all zero, neighbours in one call; the file must be a hole there."""
    cdef Py_ssize_t start, end = 0
    cdef Py_ssize_t put
    while end < size:
        start = end
        while start < size and is_zero(data + start, min(PAGE, size - start)):
            start += PAGE
        end = start
        while end < size and not is_zero(data + end, min(PAGE, size - end)):
            end += PAGE
        while start < min(end, size):
            put = pwrite(fd, data + start, min(end, size) - start, offset + start)
            if put < 0 and errno != EINTR:
                return -errno
            start += max(put, 0)
    return 0


cdef bytes pump(int source, Py_ssize_t size, int target):
    """Hash `size` bytes of `source`, and copy exactly those to the empty file `target` unless that is -1."""
    cdef Py_ssize_t offset = 0, want, got
    cdef int put = 0
    cdef bytearray buffer = bytearray(min(CHUNK, size))
    cdef char* data = buffer
    hasher = new_sha256()
    update = hasher.update
    view = memoryview(buffer)
    while offset < size:
        want = min(CHUNK, size - offset)
        with nogil:
            got = read_full(source, data, want, offset)
            if got == want and target >= 0:
                put = write_sparse(target, data, want, offset)
        if got < 0:
            raise failure("read the image", -got)
        if got != want:
            raise ImageMismatch(f"the image ends at {offset + got} of {size} bytes")
        if put < 0:
            raise failure("write the image", -put)
        update(view if want == len(view) else view[:want])
        offset += want
    return hasher.digest()


cdef check_size(Py_ssize_t size, bint whole_pages=False):
    if size <= 0 or (whole_pages and size % PAGE):
        raise ValueError(f"not a size in bytes{' of whole pages' if whole_pages else ''}: {size}")


def seal(int source, Py_ssize_t size, bytes sha256) -> int:
    check_size(size, True)
    actual = os.fstat(source).st_size
    if actual != size:
        raise ImageMismatch(f"the image has {actual} bytes, not {size}")
    cdef int image = memfd_create("swarm-image", MFD_CLOEXEC | MFD_ALLOW_SEALING)
    if image < 0:
        raise failure("create a memory file", errno)
    try:
        if ftruncate(image, size) != 0:
            raise failure("size a memory file", errno)
        found = pump(source, size, image)
        if found != sha256:
            raise ImageMismatch(f"the image has sha256 {found.hex()}, not {sha256.hex()}")
        if fcntl(image, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0:
            raise failure("seal a memory file", errno)
    except BaseException:
        close(image)
        raise
    return image


def digest(int fd, Py_ssize_t size) -> bytes:
    check_size(size)
    return pump(fd, size, -1)


def save(int memfd, Py_ssize_t size, int target) -> bytes:
    check_size(size)
    # Emptied first: only then is every page that is not written a hole.
    if ftruncate(target, 0) != 0 or ftruncate(target, size) != 0:
        raise failure("size the saved image", errno)
    return pump(memfd, size, target)


# --- mapping ---

cdef int check_range(Py_ssize_t offset, Py_ssize_t length, Py_ssize_t size) except -1:
    if offset < 0 or length < 0 or offset % PAGE or length % PAGE or offset > size - length:
        raise ValueError(f"not a range of whole pages inside the image: {(offset, length)}")
    return 0


cdef int fault_in(char* start, Py_ssize_t length) noexcept nogil:
    while madvise(start, length, MADV_POPULATE_READ) != 0:
        if errno != EINTR and errno != EAGAIN:
            return errno
    return 0


@final
cdef class Mapping:
    def __init__(self, int fd, Py_ssize_t size) -> None:
        check_size(size, True)
        if self.base is not NULL:
            raise ValueError("mapped already")
        # Beyond the end of the file an access would be a bus error.
        actual = os.fstat(fd).st_size
        if actual < size:
            raise ImageMismatch(f"the image has {actual} bytes, not {size}")
        cdef void* base = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0)
        if base == MAP_FAILED:
            raise failure("map an image", errno)
        self.base = <char*>base
        self.size = size

    def populate(self, ranges) -> int:
        cdef list wanted = list(ranges)
        cdef Py_ssize_t i, total = 0, count = len(wanted)
        cdef int error = 0
        if self.base is NULL:
            raise ValueError("the mapping is closed")
        cdef Py_ssize_t* flat = <Py_ssize_t*>malloc(2 * count * sizeof(Py_ssize_t) + 1)
        if flat is NULL:
            raise MemoryError
        # SAFETY: the ranges are copied and checked against the mapping before the lock is released; close() during
        # populate is the caller's error, as it is for any descriptor.
        try:
            for i in range(count):
                flat[2 * i], flat[2 * i + 1] = wanted[i]
                check_range(flat[2 * i], flat[2 * i + 1], self.size)
            with nogil:
                for i in range(count):
                    error = fault_in(self.base + flat[2 * i], flat[2 * i + 1])
                    if error:
                        break
                    total += flat[2 * i + 1]
        finally:
            free(flat)
        if error:
            raise failure("populate an image", error)
        return total

    def close(self) -> None:
        cdef char* base = self.base
        self.base = NULL
        if base is not NULL:
            munmap(base, self.size)

    def __dealloc__(self):
        if self.base is not NULL:
            munmap(self.base, self.size)


# --- what a process made of an image ---

# SAFETY: `pages` has room for `count` flags; the file's content is the kernel's, and only two bits of it are looked at.
cdef int mark_present(int pagemap, uint64_t first, uint64_t count, unsigned char* pages) noexcept nogil:
    """Flag the pages present or swapped among `count` from virtual page `first`. Returns 0 or the negative errno."""
    cdef uint64_t entries[8192]
    cdef uint64_t done = 0, step, i
    cdef Py_ssize_t got
    while done < count:
        step = min(count - done, <uint64_t>ENTRIES)
        got = read_full(pagemap, <char*>entries, step * 8, <long>((first + done) * 8))
        if got < 0:
            return <int>got
        if got != <Py_ssize_t>(step * 8):
            return -EIO
        for i in range(step):
            if entries[i] & (PRESENT | SWAPPED):
                pages[done + i] = 1
        done += step
    return 0


cdef list image_areas(int pid, inode):
    """The (address, length, file offset) of each mapping of the image in a process."""
    found = []
    with io.open(f"/proc/{pid}/maps", "rb") as lines:
        for line in lines:
            area, _, offset, _, number = line.split(maxsplit=5)[:5]
            if int(number) == inode:
                start, _, end = area.partition(b"-")
                found.append((int(start, 16), int(end, 16) - int(start, 16), int(offset, 16)))
    return found


cdef list merged(bytearray pages):
    """The runs of flagged pages as (offset, length)."""
    ranges = []
    start = pages.find(1)
    while start >= 0:
        end = pages.find(0, start)
        end = len(pages) if end < 0 else end
        ranges.append((start * PAGE, (end - start) * PAGE))
        start = pages.find(1, end)
    return ranges


def working_set(int pid, inode, Py_ssize_t size) -> list[tuple[int, int]]:
    check_size(size, True)
    cdef bytearray touched = bytearray(size // PAGE)
    cdef unsigned char* pages = <unsigned char*><char*>touched
    cdef uint64_t first, count, skipped
    cdef int error = 0
    pagemap = io.open(f"/proc/{pid}/pagemap", "rb", buffering=0)
    cdef int fd = pagemap.fileno()
    with pagemap:
        for start, length, offset in image_areas(pid, inode):
            if offset >= size:
                continue
            first, count, skipped = start // PAGE, min(length, size - offset) // PAGE, offset // PAGE
            with nogil:
                error = mark_present(fd, first, count, pages + skipped)
            if error:
                raise failure("read the page map", -error, pagemap.name)
    return merged(touched)


def private_bytes(int pid, inode) -> int:
    total, inside = 0, False
    with io.open(f"/proc/{pid}/smaps", "rb") as lines:
        for line in lines:
            words = line.split(maxsplit=5)
            if not words[0].endswith(b":"):
                inside = int(words[4]) == inode
            elif inside and words[0] == b"Anonymous:":  # Private_Dirty would count the image's own pages when unshared
                total += int(words[1]) * 1024
    return total
