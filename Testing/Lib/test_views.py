"""Slices face the radiologist, whatever the scan's orientation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from CTGLIPLib.geometry import Grid
from CTGLIPLib.views import BONE, BRAIN, LUNG, PLANES, SOFT_TISSUE, Window, central_slice, upright, window_for
from CTGLIPLib.volume import Volume

SHAPE_RAS, SPACING_RAS = (7, 9, 11), np.array([1.0, 2.0, 3.0])
ORIENTATIONS = [
    (order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]


def reoriented(array_ras: np.ndarray, order: tuple[int, ...], signs: tuple[int, ...]) -> Volume:
    """The same patient stored along other axes: axis n of the file runs along RAS axis order[n] with signs[n]."""
    array = np.transpose(array_ras, order)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (ras, sign) in enumerate(zip(order, signs, strict=True)):
        affine[ras, axis] = sign * SPACING_RAS[ras]
        if sign < 0:
            array = np.flip(array, axis)
            affine[ras, 3] = SPACING_RAS[ras] * (array_ras.shape[ras] - 1)
    return Volume(array, Grid(array.shape, affine))


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_every_view_faces_the_radiologist(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    r, a, s = np.meshgrid(*map(np.arange, SHAPE_RAS), indexing="ij")
    volume = reoriented((r * 10000 + a * 100 + s).astype(float), order, signs)
    mask = np.zeros(volume.array.shape, bool)
    mask[volume.array == 2 * 10000 + 6 * 100 + 8] = True
    scene = upright(volume, mask)
    axial, coronal, sagittal = scene.views(scene.turned(mask))
    assert (sagittal.index, coronal.index, axial.index) == (2, 6, 8)
    assert axial.cut(scene.hu)[0, 0] == 6 * 10000 + 8 * 100 + 8  # the patient's right front
    assert coronal.cut(scene.hu)[0, 0] == 6 * 10000 + 6 * 100 + 10  # right, head
    assert sagittal.cut(scene.hu)[0, 0] == 2 * 10000 + 8 * 100 + 10  # front, head
    assert axial.size_mm == pytest.approx((7.0, 18.0))
    assert (axial.position, coronal.position, sagittal.position) == ("S 24 mm", "A 12 mm", "R 2 mm")


def test_the_letters_name_left_right_top_and_bottom() -> None:
    assert [plane.letters for plane in PLANES] == [("R", "L", "A", "P"), ("R", "L", "S", "I"), ("A", "P", "S", "I")]


def test_a_position_left_of_behind_or_below_the_origin_has_the_other_letter() -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (-50, -60, -70)
    volume = Volume(np.zeros((5, 5, 5)), Grid((5, 5, 5), affine))
    scene = upright(volume, np.zeros((5, 5, 5), bool))
    assert [view.position for view in scene.views(scene.turned(np.zeros((5, 5, 5), bool)))] == [
        "I 68 mm",
        "P 58 mm",
        "L 48 mm",
    ]


def test_an_oblique_slice_has_a_number_instead_of_a_position() -> None:
    c, s = np.cos(0.2), np.sin(0.2)
    affine = np.eye(4)
    affine[:3, :3] = [[1, 0, 0], [0, c, -s], [0, s, c]]
    scene = upright(Volume(np.zeros((5, 5, 5)), Grid((5, 5, 5), affine)), np.zeros((5, 5, 5), bool))
    assert scene.views(np.zeros((5, 5, 5), bool))[0].position == "slice 3 of 5"


def test_a_long_scan_is_cut_round_the_organ() -> None:
    volume = Volume(np.broadcast_to(np.arange(400.0), (4, 4, 400)), Grid((4, 4, 400), np.diag([1.0, 1.0, 3.0, 1.0])))
    mask = np.zeros((4, 4, 400), bool)
    mask[:, :, 380:390] = True
    scene = upright(volume, mask)
    assert scene.grid.shape_ijk == (4, 4, 150)
    view = scene.views(scene.turned(mask))[0]
    assert 380 <= view.cut(scene.hu)[0, 0] < 390
    assert scene.grid.to_ras(np.zeros(3))[2] == 250 * 3.0


def test_the_slice_shows_a_curved_organ_whose_centroid_lies_outside() -> None:
    mask = np.zeros((40, 40, 5), bool)
    mask[5:35, 5:8] = True
    mask[5:8, 5:35] = True  # an L: the centroid lies between its arms
    for axis in range(3):
        assert mask.take(central_slice(mask, axis), axis).any()


def test_two_distant_parts_of_an_organ_still_give_a_slice_with_organ() -> None:
    mask = np.zeros((5, 5, 41), bool)
    mask[:, :, 0] = mask[:, :, 40] = True
    assert central_slice(mask, 2) == 0


def test_the_largest_cross_section_near_the_middle_wins_and_an_empty_mask_gives_the_middle() -> None:
    mask = np.zeros((9, 9, 20), bool)
    mask[4, 4, :] = True
    mask[:, :, 12] = True
    assert central_slice(mask, 2) == 12
    assert central_slice(np.zeros((4, 4, 10), bool), 2) == 5


@pytest.mark.parametrize(
    ("organ", "window"),
    [
        ("lung_upper_lobe_left", LUNG),
        ("trachea", LUNG),
        ("rib_right_3", BONE),
        ("vertebrae_L1", BONE),
        ("left hip", BONE),
        ("brain", BRAIN),
        ("liver", SOFT_TISSUE),
        ("tribe", SOFT_TISSUE),
    ],
)
def test_the_window_follows_the_organ(organ: str, window: Window) -> None:
    assert window_for(organ) == window
