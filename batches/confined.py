"""What a process does to itself before it looks at a page: it ends with its parent, and has limits, for good."""

import ctypes
import os
import resource
import signal

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38  # linux/prctl.h
OPEN_FILES = 64

_libc = ctypes.CDLL(None)


def die_with(parent: int) -> None:
    """End when the parent ends, also if it has ended already. It is the parent's thread that counts."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def confine(*, memory: int, written: int) -> None:
    """No more than so many bytes of address space, and in a file; few open files, no core, no new privileges."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
