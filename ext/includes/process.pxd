# Kernel interfaces to processes: clone, credentials, limits, descriptors.
from libc.stdint cimport uint32_t
from posix.types cimport mode_t, pid_t

cdef extern from "<sched.h>" nogil:
    int CLONE_NEWNET
    int CLONE_VM
    int CLONE_VFORK
    int CLONE_PIDFD
    int setns(int fd, int kind)
    int clone(int (*child)(void*) noexcept nogil, void* stack, int flags, void* argument, int* pidfd)

cdef extern from "<signal.h>" nogil:
    int NSIG
    int SIG_SETMASK
    int SIGCHLD
    void (*SIG_DFL)(int)
    struct sigaction_t "sigaction":
        void (*sa_handler)(int)
    int sigaction(int number, const sigaction_t* new, sigaction_t* old)

cdef extern from "<sys/mman.h>" nogil:
    int PROT_READ
    int PROT_WRITE
    int MAP_PRIVATE
    int MAP_ANONYMOUS
    int MAP_STACK
    void* MAP_FAILED
    void* mmap(void* address, size_t size, int protection, int flags, int fd, long offset)
    int munmap(void* address, size_t size)

cdef extern from "<sys/resource.h>" nogil:
    ctypedef unsigned long rlim_t
    struct rlimit:
        rlim_t rlim_cur
        rlim_t rlim_max
    int PRIO_PROCESS
    int setrlimit(int resource, const rlimit* limit)
    int setpriority(int which, int who, int nice)

cdef extern from "<sys/prctl.h>" nogil:
    int PR_CAPBSET_DROP
    int PR_CAP_AMBIENT
    int PR_CAP_AMBIENT_CLEAR_ALL
    int PR_SET_NO_NEW_PRIVS
    int PR_SET_PDEATHSIG
    int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)

cdef extern from "<linux/capability.h>" nogil:
    int _LINUX_CAPABILITY_VERSION_3
    struct __user_cap_header_struct:
        uint32_t version
        int pid
    struct __user_cap_data_struct:
        uint32_t effective
        uint32_t permitted
        uint32_t inheritable

cdef extern from "<sys/syscall.h>" nogil:
    int SYS_capset
    int SYS_close_range
    int SYS_rt_sigprocmask
    int SYS_setgroups
    int SYS_setresgid
    int SYS_setresuid
    long syscall(long number, ...)

cdef extern from "<sys/wait.h>" nogil:
    pid_t waitpid(pid_t pid, int* status, int options)

cdef extern from "<fcntl.h>" nogil:
    int F_DUPFD_CLOEXEC
    int O_CLOEXEC
    int O_RDWR
    int O_WRONLY
    int open(const char* path, int flags, ...)
    int fcntl(int fd, int command, ...)

cdef extern from "<unistd.h>" nogil:
    int chdir(const char* path)
    int close(int fd)
    int dup2(int source, int target)
    int execve(const char* path, char** argv, char** env)
    int getppid()
    int getpid()
    int setsid()
    ssize_t write(int fd, const void* data, size_t size)
    void _exit(int status)
