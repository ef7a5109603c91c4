"""Start a confined process without copying the parent's page tables, whatever its size."""

from collections.abc import Sequence

def spawn(
    argv: Sequence[bytes],
    env: Sequence[bytes],
    *,
    uid: int,
    gid: int,
    netns: int = -1,
    cgroup_procs: Sequence[bytes] = (),
    rlimits: Sequence[tuple[int, int, int]] = (),
    fds: Sequence[tuple[int, int]] = (),
    nice: int = 0,
    death_signal: int = 0,
    cwd: bytes = b"/",
) -> tuple[int, int]:
    """Execute ``argv`` (``argv[0]`` is the path) with exactly ``env`` (``NAME=value``). Returns ``(pid, pidfd)``.

    The child leads a session of its own, belongs to ``uid`` and ``gid`` and to no other group, holds no capability and
    can gain none (empty bounding set, no_new_privs), and has default signal handling. It enters ``netns`` and writes
    itself into each ``cgroup.procs`` file. It has only the descriptors of ``fds`` as ``(source, target)`` pairs; 0, 1
    and 2 are ``/dev/null`` where not given. ``rlimits`` are ``(resource, soft, hard)`` with -1 for unlimited.
    ``death_signal`` is sent when the *thread* that called ends: call from one that lives as long as the child.

    Raises ``OSError`` with the errno and the step that failed (a missing program: ``FileNotFoundError``); no process
    and no zombie is left then. Reaping a started child is the caller's: poll the pidfd, then ``os.waitpid``.
    The calling process becomes non-dumpable when ``uid`` is not its own: the kernel guards the memory both share
    until the program starts.
    """
