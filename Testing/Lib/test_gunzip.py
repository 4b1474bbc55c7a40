"""Both readers of gzip give the same bytes, and refuse the same files."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from CTGLIPLib import gunzip
from CTGLIPLib.errors import InputError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.gunzip import CORRUPT, open_gzip
from CTGLIPLib.nifti import read_nifti, write_nifti


@pytest.fixture(params=["zlib", "isal"])
def reader(request, monkeypatch) -> str:
    if request.param == "isal":
        pytest.importorskip("isal", reason="isal is not installed")
    else:
        monkeypatch.setattr(gunzip, "igzip", None)
    return request.param


@pytest.mark.parametrize("level", [1, 4, 9])
def test_each_reader_gives_the_bytes_that_were_packed(reader, level, tmp_path, rng):
    path, raw = tmp_path / "a.gz", rng.normal(0, 9, 300_000).astype(np.int16).tobytes()
    path.write_bytes(gzip.compress(raw[:100_000], level) + gzip.compress(raw[100_000:], level))
    with open_gzip(path) as file:
        assert file.read() == raw


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i2", "float32"])
def test_each_reader_gives_the_voxels_that_were_written(reader, dtype, tmp_path, rng):
    path, grid = tmp_path / "a.nii.gz", Grid((37, 41, 11), np.diag([1.0, 2.0, 3.0, 1.0]))
    array = rng.integers(0, 200, grid.shape_ijk).astype(dtype)
    write_nifti(array.astype(array.dtype.newbyteorder("=")), grid, path)
    found = read_nifti(path)[0]
    assert found.flags.f_contiguous
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("damage", ["cut", "altered"])
def test_each_reader_refuses_a_damaged_file(reader, damage, at, tmp_path, rng):
    path, grid = tmp_path / "a.nii.gz", Grid((40, 40, 20), np.eye(4))
    write_nifti(rng.integers(-1000, 1000, grid.shape_ijk).astype(np.int16), grid, path)
    raw = bytearray(path.read_bytes())
    place = min(int(len(raw) * at), len(raw) - 1)
    if damage == "cut":
        del raw[place:]
    else:
        raw[place] ^= 0x55
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"a\.nii\.gz .*truncated"):
        read_nifti(path)
    with pytest.raises(CORRUPT), open_gzip(path) as file:
        file.read()
