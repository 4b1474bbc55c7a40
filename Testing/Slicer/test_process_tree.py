"""Finding and ending what a process started."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from waiting import waitFor

pytest.importorskip("slicer")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX process groups")

SLEEPS = "import time; time.sleep(60)"
PARENT = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "{SLEEPS}"], start_new_session=True)
time.sleep(60)
"""


@pytest.fixture
def parent(slicerApp):
    process = subprocess.Popen([sys.executable, "-c", PARENT], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_descendants_are_found_by_proc_and_by_ps_alike(parent, monkeypatch):
    from CTGLIPSlicer import process_tree

    below = waitFor(lambda: process_tree.descendants(parent.pid), 20)
    assert len(below) == 1
    monkeypatch.setattr(process_tree, "_parents", process_tree._parentsByPs)
    assert process_tree.descendants(parent.pid) in (below, [])  # [] where the system has no ps
    process_tree.killTree(parent)


def test_a_tree_is_ended_whole(parent):
    from CTGLIPSlicer import process_tree

    (child,) = waitFor(lambda: process_tree.descendants(parent.pid), 20)
    process_tree.killTree(parent)
    assert parent.returncode == -9
    with pytest.raises(ProcessLookupError):
        waitFor(lambda: os.kill(child, 0), 5)


def test_ending_what_has_ended_does_nothing(parent):
    from CTGLIPSlicer import process_tree

    process_tree.killTree(parent)
    process_tree.killTree(parent)
    assert process_tree.descendants(parent.pid) == []
