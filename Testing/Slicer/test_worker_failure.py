"""Why a request failed, in words that tell what to do."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer")

LOG = """INFO CTGLIPLib: loading
/x/site-packages/torch/nn.py:12: UserWarning: something old
  warnings.warn(
 45%|####      | 9/20 [00:01<00:01]\r100%|##########| 20/20
Traceback (most recent call last):
  File "/x/worker.py", line 3, in <module>
    import CTGLIPLib.encode
  File "/x/encode.py", line 9, in <module>
    import torch
    ^^^^^^^^^^^^
ModuleNotFoundError: No module named 'torch'
"""


LAUNCHER = "error: [/x/bin/./python-real] exit abnormally - Report the problem."
SEGFAULT = """Fatal Python error: Segmentation fault

Current thread 0x00007f00 (most recent call first):
  File "/x/torch/nn.py", line 3 in forward

Extension modules: numpy._core, torch._C (total: 2)
"""


@pytest.fixture
def failures(slicerApp):
    from CTGLIPSlicer import worker_failure

    return worker_failure


def test_real_lines_leave_out_frames_warnings_and_progress_bars(failures):
    assert failures.realLines(LOG) == "INFO CTGLIPLib: loading\nModuleNotFoundError: No module named 'torch'"


def test_real_lines_leave_out_what_the_launcher_and_the_fault_handler_add(failures):
    assert failures.realLines(f"{SEGFAULT}{LAUNCHER}") == "Fatal Python error: Segmentation fault"


def test_only_the_last_eight_lines_are_real(failures):
    assert failures.realLines("\n".join(map(str, range(20)))).split() == [str(n) for n in range(12, 20)]


def test_a_missing_torch_sends_to_set_up(failures):
    failure = failures.failureOfExit(1, LOG)
    assert failure.message == "The helper process needs PyTorch (torch), which is not installed."
    assert "Set up" in failure.remedy
    assert failure.text == f"{failure.message} {failure.remedy}"


@pytest.mark.parametrize(
    ("code", "log", "message", "remedy"),
    [
        (-9, "", "signal 9): probably the computer ran out of memory", "crop the volume"),
        (1, "MemoryError", "ran out of memory", "Close other programs"),
        (1, "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory", "ran out of memory", "crop"),
        (-11, "", "crashed (signal 11, SIGSEGV)", "device cpu"),
        (0xC0000005, "", "crashed (signal 11", "device cpu"),
        (0xC0000017, "", "ran out of memory", "crop"),
        (-1073741819, "", "crashed", "device cpu"),
        (1, "OSError: [WinError 126] c10.dll", "installed only in part", "Set up"),
        (1, "ModuleNotFoundError: No module named 'CTGLIPLib'", "own library", "extension again"),
        (1, "ModuleNotFoundError: No module named 'scipy.special'", "needs scipy.special", "Set up"),
        (1, f"INFO ok\n{LAUNCHER}", "signal 9): probably the computer ran out of memory", "crop"),
        (1, f"{SEGFAULT}{LAUNCHER}", "crashed (signal 11", "device cpu"),
        (1, f"Windows fatal exception: access violation\n{LAUNCHER}", "crashed (signal 11", "device cpu"),
        (7, "", "exit code 7", "details"),
        (0, "", "exit code 0", "details"),
    ],
)
def test_the_way_a_child_ended_tells_cause_and_remedy(failures, code, log, message, remedy):
    failure = failures.failureOfExit(code, log)
    assert message in failure.message
    assert remedy in failure.remedy
    assert failure.kind == "died"


def test_an_error_that_says_what_to_do_gets_no_other_remedy(failures):
    event = {"event": "error", "kind": "InputError", "message": "Expected a CT. Load one.", "details": None}
    failure = failures.failureOfError(event)
    assert (failure.kind, failure.text, failure.details) == ("InputError", "Expected a CT. Load one.", "")


def test_a_missing_dependency_sends_to_set_up(failures):
    event = {"event": "error", "kind": "DependencyError", "message": "TotalSegmentator is missing."}
    assert "Set up" in failures.failureOfError(event).remedy


def test_files_that_cannot_be_written_tell_the_reason(failures):
    full = failures.failureOfFiles(OSError(28, "No space left on device"))
    assert (full.kind, "No space left on device" in full.message, "Free space" in full.remedy) == (
        "OutputError",
        True,
        True,
    )
    assert failures.failureOfFiles(MemoryError()).kind == "OutOfMemory"
    assert failures.failureOfFiles(KeyError("x")).kind == "InternalError"
