"""Volumes and segmentations refuse what does not fit, and count what they hold."""

from __future__ import annotations

import numpy as np
import pytest
from phantoms import NAMES, phantom_organs

from CTGLIPLib.errors import GeometryError, LabelError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.volume import Segmentation, Volume

GRID = Grid((2, 3, 4), np.eye(4))


def test_a_volume_has_its_grids_shape():
    assert Volume(np.zeros((2, 3, 4)), GRID).array.shape == GRID.shape_ijk
    with pytest.raises(GeometryError, match=r"shape \(4, 3, 2\) must equal its grid's \(2, 3, 4\)"):
        Volume(np.zeros((4, 3, 2)), GRID)


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 2, 3, 5), (1, 1, 2, 3, 4)])
def test_layers_of_another_shape_are_refused(shape):
    with pytest.raises(GeometryError, match=r"layers must have shape \(layer, i, j, k\)"):
        Segmentation(np.zeros(shape, np.uint16), GRID, ("liver",))


def test_an_organ_named_twice_is_refused():
    with pytest.raises(LabelError, match="liver occurs twice"):
        Segmentation(np.zeros((1, 2, 3, 4), np.uint16), GRID, ("liver", "spleen", "liver"))


def test_masks_and_counts_agree_over_overlapping_layers():
    layers = np.zeros((2, 2, 3, 4), np.uint16)
    layers[0, 0] = 1
    layers[1, :, 0] = 2
    organs = Segmentation(layers, GRID, ("liver", "livertumor1", "spleen"))
    assert organs.voxel_counts().tolist() == [12, 8, 0]
    assert [int(organs.mask(name).sum()) for name in organs.names] == [12, 8, 0]
    assert (organs.mask("liver") & organs.mask("livertumor1")).sum() == 4


def test_an_unknown_organ_is_refused_with_the_known_ones():
    with pytest.raises(LabelError, match="no organ 'heart' in this segmentation; it has liver, spleen"):
        phantom_organs(GRID).mask("heart")
    assert phantom_organs(GRID).names == NAMES
