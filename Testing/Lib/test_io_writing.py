"""Writing volumes: what cannot be written is refused, and nothing half-written is left."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from CTGLIPLib import files, io
from CTGLIPLib.errors import GeometryError, InputError, OutputError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import read_array, write_volume

SHAPE = (5, 6, 7)
ENDINGS = [".nii", ".nii.gz", ".nrrd", ".mha"]
AFFINE = np.array([[-1.5, 0, 0, 40.0], [0, -1.5, 0, -20.5], [0, 0, 3.0, 700.25], [0, 0, 0, 1.0]])


@pytest.fixture
def hu(rng):
    """A small CT with air, fat and tissue."""
    tissue = rng.choice([-1000, -100, 50], size=SHAPE)
    return (tissue + rng.integers(-20, 20, SHAPE)).astype(np.int16)


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr", "a.png", "a"])
def test_formats_of_two_files_or_unknown_ones_are_not_written(tmp_path, name):
    with pytest.raises(InputError, match="can be written as .nii, .nii.gz, .nrrd, .mha"):
        write_volume(np.zeros(SHAPE), Grid(SHAPE, AFFINE), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_dtype_that_nifti_lacks_is_refused(tmp_path):
    with pytest.raises(InputError, match="NIfTI cannot hold float16"):
        write_volume(np.zeros(SHAPE, dtype=np.float16), Grid(SHAPE, AFFINE), tmp_path / "a.nii")
    assert list(tmp_path.iterdir()) == []


def test_bool_is_written_as_uint8_and_the_same_file_twice_is_the_same_bytes(tmp_path, rng):
    mask = rng.random(SHAPE) > 0.5
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(mask, Grid(SHAPE, AFFINE), tmp_path / name)
    assert read_array(tmp_path / "a.nii.gz")[0].dtype == np.uint8
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_an_array_that_does_not_fit_its_grid_is_not_written(tmp_path):
    with pytest.raises(GeometryError, match="must equal its grid's"):
        write_volume(np.zeros((2, 2, 2)), Grid(SHAPE, AFFINE), tmp_path / "a.nii")


def test_compression_is_a_choice_for_nrrd_and_mha(tmp_path):
    for ending in (".nrrd", ".mha"):
        sizes = []
        for compress in (True, False):
            write_volume(np.zeros((40, 40, 40)), Grid((40, 40, 40), np.eye(4)), tmp_path / f"a{ending}", compress)
            sizes.append((tmp_path / f"a{ending}").stat().st_size)
        assert sizes[0] * 10 < sizes[1]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("interrupt", [False, True])
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, hu, monkeypatch, ending, interrupt):
    path = tmp_path / f"a{ending}"
    write_volume(hu, Grid(SHAPE, AFFINE), path)
    before = path.read_bytes()

    def fail(*_args: object, **_kwargs: object) -> None:
        if interrupt:
            raise KeyboardInterrupt("stopped")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(io, "write_nifti", fail)
    monkeypatch.setattr(io, "_write_itk", fail)
    with pytest.raises(
        KeyboardInterrupt if interrupt else OutputError, match="stopped" if interrupt else "No space left"
    ):
        write_volume(hu + np.int16(1), Grid(SHAPE, AFFINE), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_folder_is_an_output_error(tmp_path, hu, monkeypatch):
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "mkstemp", refuse)
    with pytest.raises(OutputError, match="Permission denied. Free space or choose a folder"):
        write_volume(hu, Grid(SHAPE, AFFINE), tmp_path / "a.nii.gz")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Could not write"):
        write_volume(hu, Grid(SHAPE, AFFINE), tmp_path / "file" / "a.nii.gz")


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from CTGLIPLib.errors import OutputError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import write_volume
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
array = np.random.default_rng(0).integers(-1000, 1000, (64, 64, 40)).astype(np.int16)
for ending in (".nii", ".nii.gz", ".nrrd", ".mha"):
    try:
        write_volume(array, Grid(array.shape, np.eye(4)), Path(sys.argv[1]) / f"a{ending}")
    except OutputError:
        print("refused", ending)
"""


def test_a_file_that_the_system_cuts_short_is_an_output_error_in_every_format(tmp_path):
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["refused", ".nii", "refused", ".nii.gz", "refused", ".nrrd", "refused", ".mha"]
    assert list(tmp_path.iterdir()) == []
