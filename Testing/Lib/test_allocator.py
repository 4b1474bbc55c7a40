"""Freed memory goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

# Blocks of 16 MB with small ones between them: glibc keeps the first kind when its threshold has grown.
PROGRAM = """
import os, sys
import numpy as np
from CTGLIPLib.allocator import return_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

if sys.argv[1] == "on":
    assert return_freed_memory()
np.ones(31 << 20, np.uint8)  # freed at once, which raises glibc's threshold to its size
before = resident()
kept = []
large = []
for _ in range(20):
    large.append(np.ones(8 << 20, np.uint8))
    kept.append(bytes(100_000))
large.clear()
print((resident() - before) >> 20)
"""


def left_mib(switch: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, switch], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed blocks so")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to see the memory of a process")
def test_freed_blocks_between_kept_ones_are_returned():
    assert left_mib("off") > 100
    assert left_mib("on") < 20
