"""A setting of the C library's allocator that makes training on a CPU nearly twice as fast."""

from __future__ import annotations

import contextlib
import ctypes
import sys

# From <malloc.h> of the GNU C library.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Let the process keep the memory it frees, and say whether that took effect (with GNU's C library alone).

    A training step of a 3D network frees and takes gigabytes; by default each large block goes back to the system,
    which clears its pages anew. The setting holds for the whole process, so only the runner of experiments makes it.
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
