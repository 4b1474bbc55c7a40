"""Core and shell of an organ: against plain loops, and what moves them and what does not."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import phantom, phantom_grid, tiny_model
from scipy import ndimage

import CTGLIPLib.core_and_shell as core_and_shell_module
from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.core_and_shell import (
    CORE_AND_SHELL_FEATURES,
    FEWEST_CORE_VOXELS,
    LOG_SCALE,
    QUANTILES,
    RELATIVE_CENTRES,
    SHELL_VOXELS,
    core_and_shell,
)
from CTGLIPLib.encode import organ_descriptors, organ_measures
from CTGLIPLib.geometry import Grid
from CTGLIPLib.intensity import HU_CENTRES
from CTGLIPLib.preprocess import prepare
from CTGLIPLib.volume import Segmentation

SEGMENTATION = "ct_sm_seg_v2_117.nii.gz"
CORE = 2 * len(RELATIVE_CENTRES) + len(QUANTILES)
GRID = Grid((18, 16, 14), np.diag([3.0, 3.0, 3.0, 1.0]))
STEPS = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]


@pytest.fixture
def study(rng: np.random.Generator) -> tuple[np.ndarray, Segmentation]:
    """Noise with two organs, one of them at the border of the scan, in two layers, and one without voxels."""
    layers = np.zeros((2, *GRID.shape_ijk), np.uint16)
    layers[0, 4:12, 5:11, 4:10] = 1
    layers[1, 9:18, 0:6, 0:7] = 2
    hu = rng.normal(60, 150, GRID.shape_ijk).astype(np.float32)
    return hu, Segmentation(layers, GRID, ("a", "b", "absent"))


def neighbours(voxels: set[tuple[int, ...]]) -> set[tuple[int, ...]]:
    """The voxels and those that share a face with one of them, within the scan."""
    near = {tuple(a + b for a, b in zip(v, step, strict=True)) for v in voxels for step in STEPS}
    inside = {v for v in near if all(0 <= a < n for a, n in zip(v, GRID.shape_ijk, strict=True))}
    return voxels | inside


def hats(values: np.ndarray, centres: tuple[float, ...]) -> np.ndarray:
    """Mean of each bin's hat function, and its logarithm."""
    shares = np.array([np.interp(values, centres, row).mean() for row in np.eye(len(centres))])
    return np.concatenate([shares, np.log1p(LOG_SCALE * shares)])


def test_it_equals_loops_over_the_voxels_of_each_organ(study):
    hu, segmentation = study
    found = core_and_shell(hu, segmentation.layers, 3)
    assert found.shape == (3, CORE_AND_SHELL_FEATURES)
    for organ, name in enumerate(("a", "b")):
        mask = {tuple(v) for v in np.argwhere(segmentation.mask(name)).tolist()}
        core = {v for v in mask if all(tuple(np.add(v, step).tolist()) in mask for step in STEPS)}
        once = neighbours(mask)
        shell = neighbours(neighbours(once)) - once
        inside = np.array([hu[v] for v in core])
        inside = inside - np.median(inside)
        quantiles = np.quantile(inside, QUANTILES)
        expected = [
            hats(inside, RELATIVE_CENTRES),
            np.sign(quantiles) * np.log(1 + np.abs(quantiles) / 10),
            hats(np.array([hu[v] for v in shell]), HU_CENTRES),
        ]
        np.testing.assert_allclose(found[organ], np.concatenate(expected), atol=2e-4)
    assert not found[2].any()


def plain_features(hu: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An organ's columns by scipy's morphology and numpy's statistics over the whole scan."""
    core = hu[ndimage.binary_erosion(mask)]
    core = core if len(core) >= FEWEST_CORE_VOXELS else hu[mask]
    near, far = (ndimage.binary_dilation(mask, iterations=voxels) for voxels in SHELL_VOXELS)
    around = hu[far & ~near]
    inside = core - np.median(core)
    quantiles = np.quantile(inside, QUANTILES)
    around = around if len(around) else hu[mask]
    signed = np.sign(quantiles) * np.log1p(np.abs(quantiles) / 10)
    return np.concatenate([hats(inside, RELATIVE_CENTRES), signed, hats(around, HU_CENTRES)])


@pytest.mark.parametrize("slab", [3, 128])
def test_ragged_organs_at_every_border_equal_scipys_morphology_whatever_the_slabs(slab, rng, monkeypatch):
    monkeypatch.setattr(core_and_shell_module, "SLAB_VOXELS", slab)
    hu = rng.normal(0, 200, (17, 14, 19)).astype(np.float32)
    blobs = ndimage.gaussian_filter(rng.normal(size=hu.shape), 2.0)
    layers = np.zeros((2, *hu.shape), np.uint16)
    layers[0] = 2 * (blobs > 0.02) + (blobs > -0.03)
    layers[1, 0:6, 0:5, 0:7], layers[1, 12:17, 9:14, 12:19], layers[1, 8, 8, 8] = 4, 5, 6
    found = core_and_shell(hu, layers, 7)
    np.testing.assert_array_equal(core_and_shell(hu, np.asfortranarray(layers), 7), found)
    for organ in (0, 2, 3, 4, 5):
        mask = (layers == organ + 1).any(axis=0)
        np.testing.assert_allclose(found[organ], plain_features(hu, mask), atol=2e-4)
    assert not found[[1, 6]].any()


def test_of_a_real_ct_it_equals_scipys_morphology(data_folder):
    image, organs = (
        sitk.ReadImage(str(data_folder / "abdomen_example" / name)) for name in ("ct_sm.nii.gz", SEGMENTATION)
    )
    hu = sitk.GetArrayFromImage(image).astype(np.float32).clip(-1000, 1000)
    labels = sitk.GetArrayFromImage(organs).astype(np.uint16)
    numbers = [number for number in np.unique(labels).tolist() if number][::5]
    found = core_and_shell((hu + 1000) / 2000, labels[None], int(labels.max()), (-1000.0, 1000.0))
    for number in numbers:
        np.testing.assert_allclose(found[number - 1], plain_features(hu, labels == number), atol=1e-3)
    assert len(numbers) > 5


def test_contrast_medium_leaves_the_core_as_it_is_and_a_stone_does_not(study):
    hu, segmentation = study
    before = core_and_shell(hu, segmentation.layers, 3)[0]
    enhanced = hu + 80 * segmentation.mask("a")
    np.testing.assert_allclose(core_and_shell(enhanced, segmentation.layers, 3)[0], before, atol=1e-4)
    stone = hu.copy()
    stone[7, 7, 7] += 1500
    after = core_and_shell(stone, segmentation.layers, 3)[0]
    highest = CORE - 1
    assert after[highest] - before[highest] > 0.5
    np.testing.assert_array_equal(after[CORE:], before[CORE:])


def test_fluid_around_an_organ_moves_its_shell_alone(study):
    hu, segmentation = study
    before = core_and_shell(hu, segmentation.layers, 3)[0]
    around = np.zeros(GRID.shape_ijk, bool)
    around[1:15, 2:14, 1:13] = True
    fluid = np.where(around & ~segmentation.mask("a"), 5.0, hu)
    after = core_and_shell(fluid, segmentation.layers, 3)[0]
    np.testing.assert_array_equal(after[:CORE], before[:CORE])
    water = CORE + HU_CENTRES.index(0.0)
    assert after[water] > before[water] + 0.3


def test_an_organ_of_a_voxel_and_one_that_fills_the_scan_have_finite_values(study):
    hu, _ = study
    layers = np.zeros((2, *GRID.shape_ijk), np.uint16)
    layers[0] = 1
    layers[1, 3, 3, 3] = 2
    found = core_and_shell(hu, layers, 3)
    assert np.isfinite(found).all()
    assert found[1, RELATIVE_CENTRES.index(0.0)] == pytest.approx(1.0)


def test_windows_of_another_size_leave_the_measures_as_they_are():
    large, small = (PreprocessConfig(spacing_mm=3.0, patch_voxels=size) for size in (64, 24))
    prepared = prepare(*phantom(phantom_grid()), large)
    model = tiny_model(large, geometry=True, core_and_shell=True)
    rows = [organ_descriptors(model, prepared, config)[:, 8:] for config in (large, small)]
    np.testing.assert_array_equal(rows[0].numpy(), rows[1].numpy())
    np.testing.assert_array_equal(rows[0].numpy(), organ_measures(model.config, prepared, large))
    assert organ_measures(tiny_model(large).config, prepared, large).shape[1] == 8
