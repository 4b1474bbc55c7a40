"""Resampling against SimpleITK where nothing is averaged, and its means where something is."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual name
from phantoms import phantom_ct, phantom_grid, reordered

from CTGLIPLib.geometry import Grid, grid_at_spacing
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.volume import Volume

OUTSIDE = -12345.0
TO_LPS = np.diag([-1.0, -1.0, 1.0])


def turned(grid: Grid, degrees: float, shift_mm: tuple[float, float, float]) -> Grid:
    """The grid turned about its third axis and moved."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    affine = np.array(grid.affine)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ affine[:3, :3]
    affine[:3, 3] += np.array(shift_mm)
    return Grid(grid.shape_ijk, affine)


def in_sitk(volume: Volume) -> sitk.Image:
    image = sitk.GetImageFromArray(volume.array.transpose(2, 1, 0))
    spacing = np.array(volume.grid.spacing_mm)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((TO_LPS @ volume.grid.affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin((TO_LPS @ volume.grid.affine[:3, 3]).tolist())
    return image


def sitk_linear(volume: Volume, grid: Grid) -> np.ndarray:
    target = in_sitk(Volume(np.zeros(grid.shape_ijk, np.float32), grid))
    result = sitk.Resample(in_sitk(volume), target, sitk.Transform(), sitk.sitkLinear, OUTSIDE, sitk.sitkFloat32)
    return sitk.GetArrayFromImage(result).transpose(2, 1, 0)


@pytest.mark.parametrize(("degrees", "shift"), [(0, (0.4, -1.3, 2.2)), (17, (0, 0, 0)), (-40, (3.0, -2.0, 5.0))])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_at_the_same_spacing_it_equals_simpleitks_linear_interpolation(degrees, shift, order, rng):
    grid = Grid((21, 18, 15), np.diag([2.0, 2.0, 2.0, 1.0]))
    array = rng.normal(0, 200, grid.shape_ijk).astype(np.float32)
    volume = Volume(*reordered(array, grid, order, (True, False, True)))
    target = turned(grid, degrees, shift)
    expected = sitk_linear(volume, target)
    found = resample_volume(volume, target)
    inside = expected != OUTSIDE
    assert inside.mean() > 0.3
    np.testing.assert_allclose(found.array[inside], expected[inside], atol=2e-2)
    assert found.grid is target
    assert found.array.dtype == np.float32


def test_at_a_finer_spacing_it_equals_simpleitks_linear_interpolation():
    volume = phantom_ct(phantom_grid((3.0, 3.0, 3.0)))
    target = grid_at_spacing(volume.grid, 1.7)
    expected = sitk_linear(volume, target)
    inside = expected != OUTSIDE
    np.testing.assert_allclose(resample_volume(volume, target).array[inside], expected[inside], atol=2e-2)


@pytest.mark.parametrize("factor", [2, 3])
def test_averaging_conserves_the_mean(factor, rng):
    grid = Grid((24, 18, 30), np.diag([1.0, 1.0, 1.0, 1.0]))
    volume = Volume(rng.normal(0, 300, grid.shape_ijk).astype(np.float32), grid)
    coarse = resample_volume(volume, grid_at_spacing(grid, float(factor)))
    assert coarse.array.shape == tuple(n // factor for n in grid.shape_ijk)
    assert coarse.array.mean(dtype=np.float64) == pytest.approx(volume.array.mean(dtype=np.float64), abs=1e-3)
    blocks = volume.array.reshape(24 // factor, factor, 18 // factor, factor, 30 // factor, factor)
    np.testing.assert_allclose(coarse.array, blocks.mean(axis=(1, 3, 5)), atol=1e-2)


def test_a_bright_voxel_between_two_samples_is_dimmed_not_missed():
    grid = Grid((16, 16, 16), np.eye(4))
    array = np.zeros(grid.shape_ijk, np.float32)
    array[7, 8, 8] = 640.0
    coarse = resample_volume(Volume(array, grid), grid_at_spacing(grid, 4.0)).array
    assert coarse.max() == pytest.approx(10.0)
    assert coarse.sum() == pytest.approx(10.0, abs=1e-3)


def test_beyond_the_scan_its_border_is_repeated():
    grid = Grid((4, 4, 4), np.eye(4))
    array = np.broadcast_to(np.arange(4, dtype=np.float32)[:, None, None], (4, 4, 4)).copy()
    wide = Grid((8, 4, 4), np.array([[1, 0, 0, -2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    assert resample_volume(Volume(array, grid), wide).array[:, 1, 1].tolist() == [0, 0, 0, 1, 2, 3, 3, 3]


def test_whole_numbers_stay_exact_and_the_input_unchanged():
    grid = Grid((5, 6, 7), np.eye(4))
    array = np.arange(210, dtype=np.int16).reshape(5, 6, 7)
    found = resample_volume(Volume(array, grid), grid)
    np.testing.assert_allclose(found.array, array)
    assert array.dtype == np.int16
    assert array.ravel().tolist() == list(range(210))
