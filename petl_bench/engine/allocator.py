"""Keep freed memory in the process: what an accelerator's caching allocator does, for the CPU.

glibc hands every block above 32 MB, and whatever is free at the end of its heap, back to the kernel, which clears each
page anew when it is asked for again. For feature maps that are made and dropped at every step, that clearing can cost
more than the arithmetic: it is what makes a task more expensive from about eight tasks on.
"""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to reuse freed memory; return whether it agreed. Elsewhere nothing happens."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    _State.kept = bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER))
    return _State.kept


def keeps_freed_memory() -> bool:
    """Return whether this process keeps what it frees."""
    return _State.kept


class _State:
    """What malloc was told: it cannot be asked."""

    kept = False
