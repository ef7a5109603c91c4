from libc.stdint cimport uint16_t, uint32_t

from .includes.net cimport in_addr


# What a job inside a namespace is told and what it hands back. Descriptors are -1 until opened.
cdef struct Slot:
    char name[16]
    unsigned char mac[6]
    in_addr ip
    uint32_t mask
    in_addr peer_ip
    unsigned char peer_mac[6]
    uint16_t port
    int backlog
    int ns
    int tap
    int listener
    int datagram
    const char* step  # the step that failed, for the message

ctypedef int (*Job)(Slot*) noexcept nogil  # 0, or the errno of the failed step

cdef int within(int ns, Job job, Slot* slot) noexcept nogil
