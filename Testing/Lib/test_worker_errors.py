"""What the worker tells of errors: the user's in words, its own without a word of the patient's."""

from __future__ import annotations

import pytest
import torch

from CTGLIPLib.errors import GeometryError, InputError
from CTGLIPLib.worker_errors import is_out_of_memory, told


def raised(error: Exception) -> Exception:
    """The error with a traceback."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


@pytest.mark.parametrize("kind", [InputError, GeometryError])
def test_an_error_of_the_users_is_told_as_it_is(kind):
    assert told(raised(kind("Give another file."))) == {
        "kind": kind.__name__,
        "message": "Give another file.",
        "details": None,
    }


def test_an_unexpected_error_tells_places_in_the_code_and_nothing_of_the_scan():
    event = told(raised(KeyError("/patients/Doe_John/ct.nii")))
    assert event["kind"] == "InternalError"
    assert "unexpected KeyError" in event["message"]
    assert event["details"].splitlines()[0].startswith("test_worker_errors.py:")
    assert event["details"].splitlines()[0].endswith(" in raised")
    assert event["details"].splitlines()[-1] == "KeyError"
    assert "Doe" not in str(event)
    assert "/" not in event["details"]


@pytest.mark.parametrize(
    ("error", "package"),
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "torch"),
        (ModuleNotFoundError("No module named 'scipy.ndimage'", name="scipy.ndimage"), "scipy"),
        (ImportError("DLL load failed while importing _C", name="torch._C"), "torch"),
    ],
)
def test_a_package_that_cannot_be_loaded_is_named_with_the_cause(error, package):
    event = told(raised(error))
    assert event["kind"] == "DependencyError"
    assert event["message"] == (
        f"The package {package} is missing or cannot be loaded: {error}. Install it, or install it anew."
    )


def test_an_import_that_fails_within_our_own_package_is_our_fault():
    for error in (ImportError("cannot import name 'x'", name="CTGLIPLib.io"), ImportError("no name")):
        assert told(raised(error))["kind"] == "InternalError"


def test_a_torch_whose_libraries_do_not_load_is_a_missing_package(tmp_path):
    code = compile("raise OSError('[WinError 126] c10.dll')", str(tmp_path / "torch" / "__init__.py"), "exec")
    with pytest.raises(OSError, match="c10") as caught:
        exec(code, {})
    event = told(caught.value)
    assert event["kind"] == "DependencyError"
    assert "The package torch" in event["message"]
    assert told(raised(OSError("another")))["kind"] == "InternalError"


def test_a_file_that_the_system_refuses_is_no_fault_of_ours_and_its_path_is_not_told():
    event = told(raised(OSError(36, "File name too long", "/home/JANE_DOE/ct.nii")))
    assert event["kind"] == "InputError"
    assert "the system says: File name too long. Check that its path" in event["message"]
    assert "JANE" not in str(event)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object", name="torch._C"),
        OSError("[WinError 1455] The paging file is too small for this operation to complete"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("MPS backend out of memory"),
    ],
)
def test_memory_that_runs_out_is_told_with_what_to_do(error):
    event = told(raised(error))
    assert event["kind"] == "OutOfMemory"
    assert "crop the CT" in event["message"]
    assert not is_out_of_memory(RuntimeError("another"))


def test_details_are_the_last_eight_places():
    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        raise LookupError

    with pytest.raises(LookupError) as caught:
        deep(30)
    lines = told(caught.value)["details"].splitlines()
    assert len(lines) == 9
    assert all(" in deep" in line for line in lines[:-1])
