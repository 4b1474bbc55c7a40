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
