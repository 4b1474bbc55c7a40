"""What the network gets: HU window, spacing, position channels, one order of axes."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from phantoms import NAMES, phantom, phantom_ct, phantom_grid, phantom_organs, reordered

from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.errors import GeometryError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.preprocess import input_channels, prepare, prepare_on_grid, sub_grid
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.volume import Segmentation, Volume

CONFIG = PreprocessConfig(spacing_mm=3.0)


def test_the_hu_window_maps_to_zero_and_one_and_clips():
    grid = Grid((5, 1, 1), np.eye(4))
    array = np.array([-2000, -1000, 0, 1000, 3000], np.int16).reshape(5, 1, 1)
    organs = Segmentation(np.ones((1, 5, 1, 1), np.uint16), grid, ("liver",))
    image = prepare_on_grid(Volume(array, grid), organs, PreprocessConfig(window_hu=(-1000.0, 1000.0))).image
    assert image.ravel().tolist() == [0, 0, 0.5, 1, 1]
    assert image.dtype == np.float32


def test_the_grid_is_isotropic_ras_and_shared_by_ct_and_organs():
    study = prepare(*phantom(phantom_grid()), CONFIG)
    assert study.grid.spacing_mm == (3.0, 3.0, 3.0)
    assert study.grid.orientation == "RAS"
    assert study.image.shape == study.segmentation.layers.shape[1:] == (32, 28, 30)
    assert study.segmentation.names == NAMES


def test_the_image_is_the_ct_at_the_same_places():
    study = prepare(*phantom(phantom_grid((1.0, 1.0, 1.0))), CONFIG)
    exact = (phantom_ct(study.grid).array + 1000) / 2000
    assert np.abs(study.image - np.clip(exact, 0, 1)).max() < 0.01
    np.testing.assert_array_equal(study.segmentation.layers, phantom_organs(study.grid).layers)


def test_all_48_axis_orders_give_the_same_input_even_where_samples_fall_between_mask_voxels():
    volume, organs = phantom(phantom_grid())
    expected = prepare(volume, organs, CONFIG)
    for order, flips in product(permutations(range(3)), product((False, True), repeat=3)):
        array, grid = reordered(volume.array, volume.grid, order, flips)
        layers, _ = reordered(organs.layers, organs.grid, order, flips)
        study = prepare(Volume(array, grid), Segmentation(layers, grid, NAMES), CONFIG)
        np.testing.assert_allclose(study.image, expected.image, atol=1e-5, err_msg=f"{order} {flips}")
        np.testing.assert_array_equal(study.segmentation.layers, expected.segmentation.layers, f"{order} {flips}")
        np.testing.assert_allclose(study.body_centre_ras_mm, expected.body_centre_ras_mm, atol=1e-4)


@pytest.mark.parametrize("origin", [(13.37, -200.1, 755.5), (-987.6, 0.3, 1e3 / 7)])
def test_a_shifted_origin_gives_the_same_input(origin):
    expected = prepare(*phantom(phantom_grid((1.5, 1.5, 1.5))), CONFIG)
    study = prepare(*phantom(phantom_grid((1.5, 1.5, 1.5), origin), origin), CONFIG)
    np.testing.assert_allclose(study.image, expected.image, atol=1e-4)
    np.testing.assert_array_equal(study.segmentation.layers, expected.segmentation.layers)
    np.testing.assert_allclose(study.geometry_features, expected.geometry_features, atol=1e-3)


def test_a_ct_and_organs_that_do_not_overlap_are_refused():
    away = (500.0, 0.0, 0.0)
    with pytest.raises(GeometryError, match="overlap by 0% only"):
        prepare(phantom_ct(phantom_grid()), phantom_organs(phantom_grid(centre_ras_mm=away), away), CONFIG)


def test_position_channels_grow_to_the_right_and_the_front_from_the_bodys_middle():
    grid = Grid((4, 3, 2), np.array([[75, 0, 0, -100], [0, 30, 0, 20], [0, 0, 5, 0], [0, 0, 0, 1.0]]))
    image = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 3, 2)
    channels = input_channels(image, grid, np.array([-25.0, 50.0]), coordinates=True)
    assert channels.shape == (3, 4, 3, 2)
    np.testing.assert_array_equal(channels[0], image)
    np.testing.assert_allclose(channels[1][:, 2, 1], [-0.5, 0, 0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(channels[2][3, :, 0], [-0.2, 0, 0.2], atol=1e-6)


def test_position_is_clipped_and_left_out_when_off():
    image = np.zeros((2, 2, 2), np.float32)
    far = Grid((2, 2, 2), np.diag([900.0, 900.0, 900.0, 1.0]))
    channels = input_channels(image, far, np.array([0.0, 0.0]), coordinates=True)
    assert channels[1:].max() == 1.5
    assert input_channels(image, far, np.zeros(2), coordinates=False).shape == (1, 2, 2, 2)


def test_a_sub_grid_lies_where_its_voxels_lie():
    grid = phantom_grid()
    part = sub_grid(grid, (3, 4, 5), (6, 7, 8))
    np.testing.assert_allclose(part.to_ras(np.array([1, 2, 3])), grid.to_ras(np.array([4, 6, 8])))
    volume = phantom_ct(grid)
    np.testing.assert_allclose(resample_volume(volume, part).array, volume.array[3:9, 4:11, 5:13], atol=1e-2)


def test_a_scan_larger_than_any_is_refused_before_memory_runs_out():
    volume, organs = phantom(phantom_grid())
    far = Grid(volume.grid.shape_ijk, volume.grid.affine @ np.diag([1e3, 1e3, 1e3, 1]))
    with pytest.raises(GeometryError, match=r"at most 10 m long, got .* Check its voxel spacing, which is in mm"):
        prepare(Volume(volume.array, far), replace(organs, grid=far), CONFIG)
