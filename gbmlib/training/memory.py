"""One setting of the C library's memory that makes training on a CPU nearly twice as fast."""

from __future__ import annotations

import contextlib
import ctypes
import sys

# From <malloc.h> of the GNU C library.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Let the process keep the memory it frees instead of giving it back to the system after every step.

    A training step of a 3-D network frees and takes gigabytes; by default the GNU allocator returns each large block
    and the system clears its pages anew. It holds for the whole process, so a program opts in: the runner of
    experiments does, importing the library does not.

    Returns:
        Whether it took effect; it does nothing where the C library is not GNU's.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 256 * 2**20))
    done = [mallopt(option, value) == 1 for option, value in settings]
    return all(done)


def give_back_freed_memory() -> None:
    """Return what the process has freed, and kept, to the system once; where the C library is GNU's."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
