"""Core and shell of an organ: against plain loops, and what moves them and what does not."""

from __future__ import annotations

import numpy as np
import pytest
from phantoms import phantom, phantom_grid, tiny_model

from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.core_and_shell import (
    CORE_AND_SHELL_FEATURES,
    LOG_SCALE,
    QUANTILES,
    RELATIVE_CENTRES,
    core_and_shell,
)
from CTGLIPLib.encode import organ_descriptors, organ_measures
from CTGLIPLib.geometry import Grid
from CTGLIPLib.intensity import HU_CENTRES
from CTGLIPLib.preprocess import prepare
from CTGLIPLib.volume import Segmentation

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
    large, small = (PreprocessConfig(spacing_mm=3.0, patch_voxels=size) for size in (64, 16))
    prepared = prepare(*phantom(phantom_grid()), large)
    model = tiny_model(large, geometry=True, core_and_shell=True)
    rows = [organ_descriptors(model, prepared, config)[:, 8:] for config in (large, small)]
    np.testing.assert_array_equal(rows[0].numpy(), rows[1].numpy())
    np.testing.assert_array_equal(rows[0].numpy(), organ_measures(model.config, prepared, large))
    assert organ_measures(tiny_model(large).config, prepared, large).shape[1] == 8
