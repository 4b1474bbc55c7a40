"""What glibc keeps of freed memory: nothing of blocks above 1 MB, in processes that are ours alone.

By itself glibc keeps freed blocks of up to 32 MB for later, and windows of a network leave gaps among them: encoding a
long scan then needs a quarter more memory (docs/benchmarks.md). Only `ctglip` and the worker call this, as it holds for
the whole process; elsewhere set MALLOC_MMAP_THRESHOLD_=1000000 for the same.
"""

from __future__ import annotations

import ctypes
import platform

M_MMAP_THRESHOLD = -3
LARGEST_KEPT_BYTES = 1 << 20


def return_freed_memory() -> bool:
    """From now on freed blocks above 1 MB go back to the system at once; False where the C library is not glibc."""
    if platform.libc_ver()[0] != "glibc":
        return False
    return ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES) == 1
