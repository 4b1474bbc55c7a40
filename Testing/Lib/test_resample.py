"""Resampling against SimpleITK where nothing is averaged, and against a plain definition where something is."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual name
from phantoms import phantom_ct, phantom_grid, reordered
from scipy import ndimage

from CTGLIPLib.geometry import Grid, canonical_array, canonical_grid, grid_at_spacing
from CTGLIPLib.io import read_volume
from CTGLIPLib.resample import parallel_axes, resample_volume
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


def plain(volume: Volume, grid: Grid) -> np.ndarray:
    """Blocks averaged over the whole array in RAS order and in float64, then scipy's interpolation."""
    fine, array = canonical_grid(volume.grid), canonical_array(volume.array, volume.grid).astype(np.float64)
    reach_mm = np.abs((fine.affine[:3, :3] / fine.spacing_mm).T @ grid.affine[:3, :3]).max(axis=1)
    blocks = np.maximum(np.floor(reach_mm / fine.spacing_mm + 1e-6), 1).astype(int)
    for axis, block in enumerate(blocks):
        array = np.pad(array, [(0, -n % block if a == axis else 0) for a, n in enumerate(array.shape)], mode="edge")
        array = np.add.reduceat(array, range(0, array.shape[axis], block), axis=axis) / block
    centre = np.eye(4)
    centre[:3, 3] = (blocks - 1) / 2
    to_blocks = np.diag([*1 / blocks, 1]) @ np.linalg.inv(centre) @ np.linalg.inv(fine.affine) @ grid.affine
    return ndimage.affine_transform(array, to_blocks, output_shape=grid.shape_ijk, order=1, mode="nearest")


def some_volume(rng: np.random.Generator, dtype: str) -> Volume:
    """A CT of noise with voxels of any shape, in any order of axes, in any order of memory."""
    shape = tuple(int(n) for n in rng.integers(2, 24, 3))
    affine = np.diag([*rng.uniform(0.5, 4, 3), 1.0])
    affine[:3, 3] = rng.uniform(-50, 50, 3)
    array = rng.normal(0, 900, shape).clip(-3024, 3071).astype(dtype)
    array, grid = reordered(array, Grid(shape, affine), rng.permutation(3), rng.random(3) < 0.5)
    if rng.random() < 0.5:
        array = np.asfortranarray(array)
    return Volume(array, grid)


def some_grid(rng: np.random.Generator, source: Grid, degrees: float) -> Grid:
    """A grid around the source's middle, of any spacing and order of axes, that may reach outside."""
    affine = np.diag([*rng.uniform(0.5, 9, 3), 1.0])
    shape = tuple(int(n) for n in rng.integers(1, 20, 3))
    middle = source.centre_ras_mm + rng.uniform(-5, 5, 3)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = turned(Grid(shape, affine), degrees, (0, 0, 0))
    return reordered(np.empty(shape), grid, rng.permutation(3), rng.random(3) < 0.5)[1]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("degrees", [0, 12.0])
def test_it_equals_averaging_and_interpolating_whole_arrays(seed, degrees):
    rng = np.random.default_rng(seed)
    volume = some_volume(rng, "int16" if seed % 4 else "float64")
    grid = some_grid(rng, volume.grid, degrees)
    found = resample_volume(volume, grid).array
    np.testing.assert_allclose(found, plain(volume, grid), atol=5e-3)
    assert found.flags.c_contiguous


@pytest.mark.parametrize(("spacing_mm", "order"), [(3.0, (0, 1, 2)), (1.9, (2, 0, 1))])
def test_a_real_ct_equals_averaging_and_interpolating_whole_arrays(data_folder, spacing_mm, order):
    volume = read_volume(data_folder / "abdomen_example" / "ct.nii.gz").volume
    volume = Volume(*reordered(volume.array, volume.grid, order, (True, False, True)))
    grid = grid_at_spacing(canonical_grid(volume.grid), spacing_mm)
    np.testing.assert_allclose(resample_volume(volume, grid).array, plain(volume, grid), atol=5e-3)


def test_axes_that_turn_by_less_than_a_thousandth_of_a_voxel_are_parallel():
    grid = Grid((20, 30, 40), np.eye(4))
    for drift, expected in ((0.9e-3, (0, 1, 2)), (1.1e-3, None)):
        to_source = np.eye(4)
        to_source[0, 2] = drift / 40
        assert parallel_axes(to_source, grid) == expected
    assert parallel_axes(np.eye(4)[[2, 0, 1, 3]] * [-2, 1, 1, 1], grid) == (1, 2, 0)
