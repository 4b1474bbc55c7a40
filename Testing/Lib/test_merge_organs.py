"""Masks put together before pooling: kidneys with their cysts."""

from __future__ import annotations

import numpy as np

from CTGLIPLib.geometry import Grid
from CTGLIPLib.merge_organs import with_kidney_cysts
from CTGLIPLib.volume import Segmentation

GRID = Grid((6, 5, 4), np.diag([2.0, 2.0, 2.0, 1.0]))


def organs(**boxes) -> Segmentation:
    layer = np.zeros(GRID.shape_ijk, dtype=np.uint16)
    for number, slices in enumerate(boxes.values(), start=1):
        layer[slices] = number
    return Segmentation(layer[None], GRID, tuple(boxes))


def test_a_kidney_takes_in_the_cysts_of_its_own_side_only():
    given = organs(
        kidney_left=np.s_[0:2, :, :], kidney_cyst_left=np.s_[2:3, :, :], kidney_right=np.s_[4:5], spleen=np.s_[5:6]
    )
    merged = with_kidney_cysts(given)
    np.testing.assert_array_equal(
        merged.mask("kidney_left"), given.mask("kidney_left") | given.mask("kidney_cyst_left")
    )
    for other in ("kidney_cyst_left", "kidney_right", "spleen"):
        np.testing.assert_array_equal(merged.mask(other), given.mask(other))
    assert merged.names == given.names
    assert merged.layers.dtype == np.uint16


def test_both_sides_are_merged_and_every_organ_lies_in_one_layer():
    given = organs(
        kidney_left=np.s_[0:1], kidney_cyst_left=np.s_[1:2], kidney_right=np.s_[4:5], kidney_cyst_right=np.s_[5:6]
    )
    merged = with_kidney_cysts(given)
    assert merged.voxel_counts().tolist() == [40, 20, 40, 20]
    for number in range(1, 5):
        assert sum((layer == number).any() for layer in merged.layers) == 1


def test_the_given_masks_are_not_changed():
    given = organs(kidney_left=np.s_[0:1], kidney_cyst_left=np.s_[1:2])
    before = given.layers.copy()
    with_kidney_cysts(given)
    np.testing.assert_array_equal(given.layers, before)


def test_without_a_cyst_or_without_its_kidney_nothing_changes():
    alone = organs(kidney_left=np.s_[0:1], liver=np.s_[3:4])
    assert with_kidney_cysts(alone) is alone
    no_kidney = organs(kidney_cyst_left=np.s_[1:2], liver=np.s_[3:4])
    assert with_kidney_cysts(no_kidney) is no_kidney
    empty_kidney = Segmentation(no_kidney.layers, GRID, ("kidney_cyst_left", "liver", "kidney_left"))
    assert with_kidney_cysts(empty_kidney).mask("kidney_left").sum() == 0
