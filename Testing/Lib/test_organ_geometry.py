"""Measures of organs against closed forms and scipy, whatever the grid's orientation."""

from __future__ import annotations

import numpy as np
import pytest
from phantoms import NAMES, ORGANS, phantom, phantom_grid, phantom_organs, reordered
from scipy import ndimage

from CTGLIPLib.geometry import Grid
from CTGLIPLib.organ_geometry import (
    GEOMETRY_FEATURES,
    body_centre_ras_mm,
    geometry_features,
    measure_organs,
)
from CTGLIPLib.volume import Segmentation, Volume


def test_volume_and_centroid_of_an_ellipsoid_are_the_formulas():
    measured = measure_organs(phantom_organs(phantom_grid((1.0, 1.0, 1.5), (40.0, -7.0, 9.5)), (40.0, -7.0, 9.5)))
    for number, (name, organ) in enumerate(ORGANS.items()):
        if name in {"aorta", "liver"}:
            continue
        assert measured.volume_ml[number] == pytest.approx(4 / 3 * np.pi * np.prod(organ.radii_mm) / 1000, rel=0.03)
        centre = np.array(organ.centre_ras_mm) + [40.0, -7.0, 9.5]
        np.testing.assert_allclose(measured.centroid_ras_mm[number], centre, atol=0.3)
        np.testing.assert_allclose(measured.extent_ras_mm[number], 2 * np.array(organ.radii_mm), atol=2)


def test_counts_and_centroids_equal_scipys():
    organs = phantom_organs(phantom_grid())
    measured = measure_organs(organs)
    for number, name in enumerate(NAMES):
        mask = organs.mask(name)
        assert measured.voxels[number] == mask.sum()
        centre = organs.grid.to_ras(np.array(ndimage.center_of_mass(mask)))
        np.testing.assert_allclose(measured.centroid_ras_mm[number], centre, atol=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_every_measure_equals_one_found_voxel_by_voxel_in_any_order_of_memory(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 12, 3))
    affine = np.diag([*rng.uniform(0.5, 4, 3), 1.0])
    affine[:3, :3] = affine[:3, :3] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    order = rng.permutation(3)
    layers = [np.where(rng.random(shape) < 0.3, rng.choice([low, low + 1], shape), 0) for low in (1, 3)]
    laid_out = [np.ascontiguousarray(layer.transpose(order)).transpose(np.argsort(order)) for layer in layers]
    stacked = np.stack(laid_out).astype(np.uint16) if seed % 2 else np.asfortranarray(np.stack(laid_out), np.uint16)
    organs = Segmentation(stacked, Grid(shape, affine), ("liver", "spleen", "aorta", "heart", "brain"))
    measured = measure_organs(organs)
    for number in range(1, 6):
        at = np.argwhere(layers[0 if number < 3 else 1] == number)
        assert measured.voxels[number - 1] == len(at)
        if not len(at):
            assert np.isnan(measured.centroid_ras_mm[number - 1]).all()
            continue
        np.testing.assert_allclose(measured.centroid_ras_mm[number - 1], organs.grid.to_ras(at.mean(axis=0)))
        extent = np.abs(organs.grid.affine[:3, :3]) @ (at.max(axis=0) - at.min(axis=0) + 1)
        np.testing.assert_allclose(measured.extent_ras_mm[number - 1], extent)
        borders = np.stack([at.min(axis=0) == 0, at.max(axis=0) == np.array(shape) - 1], axis=1).ravel()
        assert measured.touches[number - 1].tolist() == borders.tolist()


def test_only_the_organ_that_reaches_the_border_is_cut():
    measured = measure_organs(phantom_organs(phantom_grid()))
    assert [name for name, cut in zip(NAMES, measured.cut, strict=True) if cut] == ["aorta"]
    assert measured.touches[NAMES.index("aorta")].tolist() == [False] * 4 + [True, True]


def test_an_absent_organ_has_no_volume_and_zero_features():
    organs = phantom_organs(phantom_grid())
    more = Segmentation(organs.layers, organs.grid, (*NAMES, "duodenum"))
    measured = measure_organs(more)
    assert measured.voxels[-1] == 0
    assert np.isnan(measured.centroid_ras_mm[-1]).all()
    assert (geometry_features(measured, more.grid, np.zeros(2))[-1] == 0).all()


@pytest.mark.parametrize(
    ("order", "flips"), [((0, 1, 2), (True, True, False)), ((2, 0, 1), (False, True, True)), ((1, 2, 0), (True,) * 3)]
)
def test_features_do_not_depend_on_the_axis_order(order, flips):
    volume, organs = phantom(phantom_grid())
    array, grid = reordered(volume.array, volume.grid, order, flips)
    layers, _ = reordered(organs.layers, organs.grid, order, flips)
    expected = geometry_features(measure_organs(organs), organs.grid, body_centre_ras_mm(volume))
    turned = Segmentation(layers, grid, NAMES)
    found = geometry_features(measure_organs(turned), grid, body_centre_ras_mm(Volume(array, grid)))
    assert found.shape == (len(NAMES), GEOMETRY_FEATURES)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_features_tell_right_from_left_and_the_ends_that_the_scan_cuts():
    layers = np.zeros((1, 20, 10, 30), np.uint16)
    layers[0, 14:18, 4:6, :7] = 1
    layers[0, 2:6, 4:6, 10:20] = 2
    grid = Grid((20, 10, 30), np.diag([10.0, 10.0, 10.0, 1.0]))
    organs = Segmentation(layers, grid, ("kidney_right", "kidney_left"))
    features = geometry_features(measure_organs(organs), grid, np.array([95.0, 45.0]))
    expected = [
        [np.log10(56 + 0.01), 0.4, 0.2, 0.7, 0.6, 0.0, 1, 0],
        [np.log10(80 + 0.01), 0.4, 0.2, 1.0, -0.6, 0.0, 0, 0],
    ]
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_the_bodys_middle_is_little_moved_by_a_table():
    grid = Grid((60, 60, 10), np.diag([5.0, 5.0, 5.0, 1.0]))
    array = np.full(grid.shape_ijk, -1000.0, np.float32)
    array[10:40, 15:45] = 30.0
    np.testing.assert_allclose(body_centre_ras_mm(Volume(array, grid)), [122.5, 147.5])
    array[5:55, 2:3] = 200.0
    moved = body_centre_ras_mm(Volume(array, grid)) - [122.5, 147.5]
    assert np.abs(moved).max() < 6.0


def test_without_a_body_its_middle_is_the_grids():
    grid = Grid((6, 8, 4), np.diag([2.0, 2.0, 2.0, 1.0]))
    volume = Volume(np.full(grid.shape_ijk, -1000.0, np.float32), grid)
    np.testing.assert_allclose(body_centre_ras_mm(volume), grid.centre_ras_mm[:2])
