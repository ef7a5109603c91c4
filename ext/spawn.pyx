"""Start a confined process; the typed stub is the documentation of the call."""

from os import strerror

from libc.errno cimport EINVAL, ENOMEM, errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.types cimport gid_t, pid_t, uid_t

from .includes.process cimport *

cdef extern from *:
    """
    enum { STACK_SIZE = 64 * 1024, HIGHEST_FD = 0x7fffffff };
    """
    int STACK_SIZE
    int HIGHEST_FD


# --- the child: async-signal-safe calls only ---

# SAFETY: from here to `start` the code runs in the child on the parent's memory (CLONE_VM) while the calling thread is
# suspended (CLONE_VFORK) and the other threads go on. It may touch `plan` and its own stack only: no Python, no
# allocation, no lock. Identity is set by bare system calls, because the C library's would tell the parent's threads to
# follow. The error comes back through `plan`; no pipe is needed.
cdef int failed(Plan* plan, const char* step, const char* subject=NULL) noexcept nogil:
    plan.failure = errno
    plan.step = step
    plan.subject = subject
    return -1


cdef int join(Plan* plan) noexcept nogil:
    """Enter namespace, session, cgroups, priority and directory; all need the parent's privileges or paths."""
    cdef char** path = plan.cgroups
    cdef int fd, written
    if plan.netns >= 0 and setns(plan.netns, CLONE_NEWNET) != 0:
        return failed(plan, "enter the network namespace")
    if setsid() < 0:
        return failed(plan, "start a session")
    while path[0] != NULL:
        fd = open(path[0], O_WRONLY | O_CLOEXEC)
        if fd < 0:
            return failed(plan, "open a cgroup", path[0])
        written = write(fd, <const char*>"0", 1)
        if written != 1:
            return failed(plan, "enter a cgroup", path[0])
        close(fd)
        path += 1
    if plan.nice and setpriority(PRIO_PROCESS, 0, plan.nice) != 0:
        return failed(plan, "set the priority")
    return failed(plan, "change directory", plan.cwd) if chdir(plan.cwd) != 0 else 0


cdef int place_fds(Plan* plan) noexcept nogil:
    """Move each source to its target and close everything else."""
    cdef Py_ssize_t i
    cdef int null, next_fd = 0
    cdef int above = plan.fds[plan.fd_count - 1].target + 1 if plan.fd_count else 0
    if above < 3:
        above = 3
    # First out of the way of all targets, so that no source is overwritten before it is used.
    for i in range(plan.fd_count):
        plan.fds[i].source = fcntl(plan.fds[i].source, F_DUPFD_CLOEXEC, above)
        if plan.fds[i].source < 0:
            return failed(plan, "duplicate a descriptor")
    null = open("/dev/null", O_RDWR | O_CLOEXEC)
    if null < 0:
        return failed(plan, "open /dev/null")
    null = fcntl(null, F_DUPFD_CLOEXEC, above)
    if null < 0:
        return failed(plan, "duplicate /dev/null")
    for i in range(3):
        if dup2(null, i) < 0:
            return failed(plan, "place /dev/null")
    for i in range(plan.fd_count):
        if dup2(plan.fds[i].source, plan.fds[i].target) < 0:
            return failed(plan, "place a descriptor")
    next_fd = 3
    for i in range(plan.fd_count):
        if plan.fds[i].target > next_fd:
            syscall(SYS_close_range, next_fd, plan.fds[i].target - 1, 0)
        if plan.fds[i].target >= next_fd:
            next_fd = plan.fds[i].target + 1
    return failed(plan, "close descriptors") if syscall(SYS_close_range, next_fd, HIGHEST_FD, 0) != 0 else 0


cdef int limit(Plan* plan) noexcept nogil:
    cdef Py_ssize_t i
    cdef rlimit value
    for i in range(plan.limit_count):
        value.rlim_cur = plan.limits[i].soft
        value.rlim_max = plan.limits[i].hard
        if setrlimit(plan.limits[i].resource, &value) != 0:
            return failed(plan, "set a resource limit")
    return 0


cdef int renounce(Plan* plan) noexcept nogil:
    """Give up groups, users and capabilities, and the ways to get them back."""
    cdef __user_cap_header_struct header
    cdef __user_cap_data_struct none[2]
    cdef unsigned long capability = 0
    while prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    if errno != EINVAL:  # EINVAL: past the last capability that this kernel knows
        return failed(plan, "drop a capability from the bounding set")
    if syscall(SYS_setgroups, 0, NULL) != 0:
        return failed(plan, "leave all groups")
    if syscall(SYS_setresgid, plan.gid, plan.gid, plan.gid) != 0:
        return failed(plan, "set the gid")
    if syscall(SYS_setresuid, plan.uid, plan.uid, plan.uid) != 0:
        return failed(plan, "set the uid")
    if prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0:
        return failed(plan, "clear the ambient capabilities")
    header.version = _LINUX_CAPABILITY_VERSION_3
    header.pid = 0
    memset(none, 0, sizeof(none))
    if syscall(SYS_capset, &header, none) != 0:
        return failed(plan, "give up the capabilities")
    return failed(plan, "set no_new_privs") if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 else 0


cdef int tie(Plan* plan) noexcept nogil:
    """Die with the parent; after the change of uid, which clears the signal."""
    if not plan.death_signal:
        return 0
    if prctl(PR_SET_PDEATHSIG, plan.death_signal, 0, 0, 0) != 0:
        return failed(plan, "set the death signal")
    if getppid() != plan.parent:  # it died before the signal was set
        _exit(127)
    return 0


cdef void reset_signals() noexcept nogil:
    """Default handling for all, then unblock: exec keeps what is ignored, and the interpreter ignores some."""
    cdef sigaction_t default
    cdef uint64_t unblocked = 0
    cdef int number
    memset(&default, 0, sizeof(default))
    default.sa_handler = SIG_DFL
    for number in range(1, NSIG):
        sigaction(number, &default, NULL)
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &unblocked, NULL, sizeof(unblocked))


cdef int child(void* argument) noexcept nogil:
    cdef Plan* plan = <Plan*>argument
    if not (join(plan) or place_fds(plan) or limit(plan) or renounce(plan) or tie(plan)):
        reset_signals()
        execve(plan.argv[0], plan.argv, plan.env)
        failed(plan, "execute", plan.argv[0])
    _exit(127)
    return 127


# --- the parent ---

# SAFETY: `plan` and all it points to stay alive and untouched until clone returns, which is when the child has left
# this memory by exec or exit. All signals, the C library's own too, are blocked meanwhile, so that no handler of this
# process runs in the child. The child's stack is private to this call.
cdef pid_t start(Plan* plan, int* pidfd) noexcept nogil:
    """Start the child. Returns its pid, or -1 with failure and step in `plan` and no child left."""
    cdef uint64_t blocked = <uint64_t>-1
    cdef uint64_t mask = 0
    cdef pid_t pid
    cdef char* stack = <char*>mmap(
        NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0
    )
    if stack == MAP_FAILED:
        return failed(plan, "allocate a stack")
    plan.parent = getpid()
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, &mask, sizeof(mask))
    pid = clone(child, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, plan, pidfd)
    if pid < 0:
        failed(plan, "create a process")
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask))
    munmap(stack, STACK_SIZE)
    if pid >= 0 and plan.failure:
        close(pidfd[0])
        waitpid(pid, NULL, 0)
        return -1
    return pid


cdef void* allocate(Py_ssize_t count, size_t size) except NULL:
    cdef void* memory = calloc(count + 1, size)
    if memory is NULL:
        raise MemoryError
    return memory


cdef char** pointers(list strings) except NULL:
    """A NULL-terminated array; the strings belong to the list, which must outlive it."""
    cdef bytes item
    cdef Py_ssize_t i
    for item in strings:
        if b"\0" in item:
            raise ValueError("embedded NUL byte")
    cdef char** array = <char**>allocate(len(strings), sizeof(char*))
    for i in range(len(strings)):
        array[i] = <bytes>strings[i]
    return array


cdef rlim_t limit_value(value) except? 0:
    return <rlim_t>-1 if value == -1 else value


cdef int fill_limits(Plan* plan, list rlimits) except -1:
    plan.limits = <Limit*>allocate(len(rlimits), sizeof(Limit))
    for resource, soft, hard in rlimits:
        plan.limits[plan.limit_count] = Limit(resource, limit_value(soft), limit_value(hard))
        plan.limit_count += 1
    return 0


cdef int fill_fds(Plan* plan, list fds) except -1:
    if len({target for _, target in fds}) != len(fds) or any(fd < 0 for pair in fds for fd in pair):
        raise ValueError(f"descriptors must not be negative and targets not repeat: {fds}")
    plan.fds = <Descriptor*>allocate(len(fds), sizeof(Descriptor))
    for source, target in sorted(fds, key=lambda pair: pair[1]):
        plan.fds[plan.fd_count] = Descriptor(source, target)
        plan.fd_count += 1
    return 0


cdef release(Plan* plan):
    free(plan.argv)
    free(plan.env)
    free(plan.cgroups)
    free(plan.limits)
    free(plan.fds)


def spawn(
    argv,
    env,
    *,
    uid_t uid,
    gid_t gid,
    int netns=-1,
    cgroup_procs=(),
    rlimits=(),
    fds=(),
    int nice=0,
    int death_signal=0,
    bytes cwd=b"/",
) -> tuple[int, int]:
    cdef Plan plan
    cdef int pidfd = -1
    cdef pid_t pid
    # Held here until the end: the plan points into these strings.
    cdef list arguments = list(argv), environment = list(env), cgroups = list(cgroup_procs)
    if not arguments:
        raise ValueError("argv is empty")
    if uid == <uid_t>-1 or gid == <gid_t>-1:
        raise ValueError("an id of -1 would leave the identity as it is")
    if b"\0" in cwd:
        raise ValueError("embedded NUL byte")
    memset(&plan, 0, sizeof(plan))
    plan.uid, plan.gid, plan.netns, plan.nice, plan.death_signal = uid, gid, netns, nice, death_signal
    plan.cwd = cwd
    try:
        plan.argv, plan.env, plan.cgroups = pointers(arguments), pointers(environment), pointers(cgroups)
        fill_limits(&plan, list(rlimits))
        fill_fds(&plan, list(fds))
        with nogil:
            pid = start(&plan, &pidfd)
    finally:
        release(&plan)
    if pid < 0:
        subject = None if plan.subject is NULL else (<bytes>plan.subject).decode(errors="backslashreplace")
        raise OSError(plan.failure, f"{plan.step.decode()}: {strerror(plan.failure)}", subject)
    return pid, pidfd
