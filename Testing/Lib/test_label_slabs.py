"""Labels on a CT's grid from slabs of logits."""

from __future__ import annotations

import numpy as np
import pytest
from phantoms import reordered
from scipy import ndimage
from tumor_rig import ball_grid, turned

from CTGLIPLib.geometry import Grid
from CTGLIPLib.label_slabs import labels_from_slabs

SOURCE = ball_grid((4.0, 4.0, 4.0))


def logits_of(rng: np.random.Generator) -> np.ndarray:
    """Three smooth classes, shape (class, i, j, k)."""
    return np.stack([ndimage.gaussian_filter(rng.normal(size=SOURCE.shape_ijk), 2) for _ in range(3)]).astype("f4")


def in_slabs(logits: np.ndarray, ends: tuple[int, ...]) -> list[np.ndarray]:
    return np.split(logits, ends, axis=-1)


def at_once(logits: np.ndarray, target: Grid) -> np.ndarray:
    """Every class interpolated at every voxel, then the largest."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in target.shape_ijk), indexing="ij"))
    place = SOURCE.to_index(target.to_ras(np.moveaxis(index, 0, -1)))
    values = [
        ndimage.map_coordinates(channel, np.moveaxis(place, -1, 0), order=1, mode="grid-constant", cval=0.0)
        for channel in logits
    ]
    return np.argmax(values, axis=0)


@pytest.mark.parametrize("target", [ball_grid(), turned(ball_grid(), 30), ball_grid((6.0, 5.0, 2.0))])
@pytest.mark.parametrize("ends", [(), (5, 9, 20), (1, 2, 3, 25)])
def test_slabs_give_the_labels_of_the_whole_map_interpolated_at_once(target, ends, rng):
    logits = logits_of(rng)
    labels = labels_from_slabs(in_slabs(logits, ends), SOURCE, target)
    assert labels.dtype == np.uint8
    assert np.mean(labels != at_once(logits, target)) < 1e-4  # rounding decides where two classes are equal


def test_any_axis_order_gives_the_same_labels(rng):
    logits, target = logits_of(rng), ball_grid()
    straight = labels_from_slabs([logits], SOURCE, target)
    expected, other = reordered(straight, target, (2, 0, 1), (True, False, True))
    np.testing.assert_array_equal(labels_from_slabs(in_slabs(logits, (7, 8)), SOURCE, other), expected)


def test_what_lies_outside_the_map_is_background(rng):
    target = Grid((40, 30, 40), ball_grid((8.0, 8.0, 8.0)).affine)
    logits = np.abs(logits_of(rng))
    logits[0] = -1
    labels = labels_from_slabs(in_slabs(logits, (10,)), SOURCE, target)
    index = np.moveaxis(np.indices(target.shape_ijk), 0, -1)
    place = SOURCE.to_index(target.to_ras(index))
    inside = ((place > -1) & (place < SOURCE.shape_ijk)).all(axis=-1)
    np.testing.assert_array_equal(labels > 0, inside)


def test_a_map_of_background_gives_no_label():
    logits = np.zeros((2, *SOURCE.shape_ijk), np.float32)
    assert not labels_from_slabs(in_slabs(logits, (4,)), SOURCE, ball_grid()).any()
