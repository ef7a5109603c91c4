# Kernel interfaces to namespaces, interfaces and sockets; numbers and layouts come from the system's headers.
from libc.stdint cimport uint16_t, uint32_t

cdef extern from "<sched.h>" nogil:
    int CLONE_NEWNET
    int setns(int fd, int kind)
    int unshare(int flags)

cdef extern from "<sys/ioctl.h>" nogil:
    int ioctl(int fd, unsigned long request, void* argument)
    int SIOCGIFFLAGS
    int SIOCSIFFLAGS
    int SIOCSIFADDR
    int SIOCSIFNETMASK
    int SIOCSIFHWADDR
    int SIOCSARP

cdef extern from "<sys/socket.h>" nogil:
    int AF_INET
    int SOCK_STREAM
    int SOCK_DGRAM
    int SOCK_CLOEXEC
    int SOCK_NONBLOCK
    int SOL_SOCKET
    int SO_REUSEADDR
    ctypedef unsigned int socklen_t
    cdef struct sockaddr:
        uint16_t sa_family
        char sa_data[14]
    int socket(int family, int kind, int protocol)
    int bind(int fd, const sockaddr* address, socklen_t size)
    int listen(int fd, int backlog)
    int setsockopt(int fd, int level, int option, const void* value, socklen_t size)

cdef extern from "<netinet/in.h>" nogil:
    cdef struct in_addr:
        uint32_t s_addr
    cdef struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    uint16_t htons(uint16_t value)
    uint32_t htonl(uint32_t value)

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char* text, void* address)

cdef extern from "<net/if.h>" nogil:
    int IFNAMSIZ
    int IFF_UP
    cdef struct ifreq:
        char ifr_name[16]
        short ifr_flags
        sockaddr ifr_addr
        sockaddr ifr_netmask
        sockaddr ifr_hwaddr

cdef extern from "<net/if_arp.h>" nogil:
    int ARPHRD_ETHER
    int ATF_PERM
    int ATF_COM
    cdef struct arpreq:
        sockaddr arp_pa
        sockaddr arp_ha
        int arp_flags
        char arp_dev[16]

cdef extern from "<linux/if_tun.h>" nogil:
    int TUNSETIFF
    int TUNSETPERSIST
    int IFF_TAP
    int IFF_NO_PI
    int IFF_VNET_HDR
