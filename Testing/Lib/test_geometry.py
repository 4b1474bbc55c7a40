"""Grids against nibabel over the 48 orientations, and their errors."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest

from CTGLIPLib.errors import GeometryError
from CTGLIPLib.geometry import (
    Grid,
    canonical_array,
    canonical_grid,
    grid_at_spacing,
    overlap_fraction,
    require_same_grid,
    same_grid,
)

ORIENTATIONS = [
    "".join(letters) for axes in permutations((("R", "L"), ("A", "P"), ("S", "I"))) for letters in product(*axes)
]
"""All 48 of them."""
SHAPE = (5, 6, 7)
SPACING = (0.75, 2.0, 3.25)


def grid_of(orientation: str, origin: tuple[float, float, float] = (-31.5, 12.0, 500.25)) -> Grid:
    turn = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(orientation), SHAPE)
    affine = np.linalg.inv(turn)
    affine[:3, :3] = np.sign(np.round(affine[:3, :3])) * np.array(SPACING)
    affine[:3, 3] = origin
    return Grid(SHAPE, affine)


def tilted(grid: Grid, degrees: float) -> Grid:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    return Grid(grid.shape_ijk, turn @ grid.affine)


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_orientation_letters_spacing_and_positions_equal_nibabels(orientation, degrees):
    grid = tilted(grid_of(orientation), degrees)
    assert grid.orientation == "".join(nib.aff2axcodes(grid.affine))
    np.testing.assert_allclose(grid.spacing_mm, nib.affines.voxel_sizes(grid.affine), atol=1e-12)
    points = np.array([[0, 0, 0], [4, 5, 6], [1.5, 2.5, 3.5]])
    np.testing.assert_allclose(grid.to_ras(points), nib.affines.apply_affine(grid.affine, points), atol=1e-9)
    np.testing.assert_allclose(grid.to_index(grid.to_ras(points)), points, atol=1e-9)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_canonical_form_equals_nibabels(orientation, rng):
    grid = grid_of(orientation)
    array = rng.normal(size=SHAPE)
    expected = nib.as_closest_canonical(nib.Nifti1Image(array, grid.affine))
    canonical = canonical_grid(grid)
    np.testing.assert_array_equal(canonical_array(array, grid), expected.get_fdata())
    np.testing.assert_allclose(canonical.affine, expected.affine, atol=1e-9)
    assert canonical.shape_ijk == expected.shape
    assert canonical.orientation == "RAS"


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_voxel_keeps_its_place_in_the_canonical_form_and_leading_axes_stay(orientation):
    grid = grid_of(orientation)
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    ras = np.moveaxis(grid.to_ras(index), -1, 0)
    canonical = canonical_grid(grid)
    index = np.stack(np.meshgrid(*map(np.arange, canonical.shape_ijk), indexing="ij"), axis=-1)
    turned = canonical_array(ras, grid)
    assert turned.shape == (3, *canonical.shape_ijk)
    np.testing.assert_allclose(np.moveaxis(turned, 0, -1), canonical.to_ras(index), atol=1e-9)


def test_the_canonical_form_is_a_view_and_of_a_canonical_array_the_array_itself():
    array, grid = np.zeros(SHAPE), grid_of("LPI")
    turned = canonical_array(array, grid)
    assert np.shares_memory(turned, array)
    again = canonical_array(turned, canonical_grid(grid))
    assert again.strides == turned.strides
    assert same_grid(canonical_grid(canonical_grid(grid)), canonical_grid(grid))


@pytest.mark.parametrize("spacing_mm", [0.7, 1.5, 2.0, 4.0])
def test_grid_at_spacing_is_the_same_for_all_orientations_of_one_ct(spacing_mm):
    # 101 voxels of 3 mm are 151.5 voxels of 2 mm: the half must always be rounded alike.
    affine = np.array([[3, 0, 0, -178.7], [0, 3, 0, 11.3], [0, 0, 3, 95.1], [0, 0, 0, 1.0]])
    image = nib.Nifti1Image(np.zeros((101, 9, 33), dtype=np.int8), affine)
    expected = grid_at_spacing(Grid((101, 9, 33), affine), spacing_mm)
    for orientation in ORIENTATIONS:
        turned = image.as_reoriented(
            nib.orientations.ornt_transform(
                nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(orientation)
            )
        )
        result = grid_at_spacing(Grid(turned.shape, turned.affine), spacing_mm)
        assert same_grid(result, expected), orientation


def test_grid_at_spacing_shares_centre_and_extent_to_half_a_voxel():
    grid = tilted(grid_of("PIR"), 15)
    result = grid_at_spacing(grid, 1.5)
    np.testing.assert_allclose(result.centre_ras_mm, grid.centre_ras_mm, atol=1e-9)
    assert result.spacing_mm == (1.5, 1.5, 1.5)
    assert result.orientation == "RAS"
    for ours, theirs in zip(result.box_ras_mm(), grid.box_ras_mm(), strict=True):
        assert np.abs(ours - theirs).max() <= 0.75 / 2 + 1e-3


def test_grid_at_spacing_keeps_one_voxel_of_a_thin_axis_and_refuses_nonsense():
    grid = Grid((10, 10, 1), np.diag([1.0, 1.0, 0.5, 1.0]))
    assert grid_at_spacing(grid, 2.0).shape_ijk == (5, 5, 1)
    for spacing_mm in (0.0, -1.0, float("nan")):
        with pytest.raises(GeometryError, match="positive number of mm"):
            grid_at_spacing(grid, spacing_mm)


def test_overlap_is_the_share_of_the_inner_box():
    outer = Grid((10, 10, 10), np.eye(4))
    moved = np.eye(4)
    moved[0, 3] = 5
    far = np.eye(4)
    far[2, 3] = 100
    small = Grid((2, 2, 2), np.eye(4))
    assert overlap_fraction(outer, outer) == pytest.approx(1.0)
    assert overlap_fraction(Grid((10, 10, 10), moved), outer) == pytest.approx(0.5)
    assert overlap_fraction(Grid((10, 10, 10), far), outer) == 0.0
    assert overlap_fraction(small, outer) == pytest.approx(1.0)
    assert overlap_fraction(outer, small) == pytest.approx(0.008)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_overlap_and_box_do_not_depend_on_the_order_of_axes(orientation):
    grid = grid_of(orientation)
    assert overlap_fraction(grid, canonical_grid(grid)) == pytest.approx(1.0)
    low, high = grid.box_ras_mm()
    np.testing.assert_allclose(np.prod(high - low) / 1000, grid.voxel_volume_ml * np.prod(SHAPE))


def test_same_grid_knows_a_micrometre_from_a_voxel():
    grid = grid_of("LAS")
    near, off, turned = grid.affine.copy(), grid.affine.copy(), grid.affine.copy()
    near[0, 3] += 1e-4
    off[0, 3] += 0.01
    turned[:3, 0] *= 1.001
    assert same_grid(grid, Grid(SHAPE, near))
    assert not same_grid(grid, Grid(SHAPE, off))
    assert not same_grid(grid, Grid(SHAPE, turned))
    assert not same_grid(grid, Grid((5, 6, 8), grid.affine))
    with pytest.raises(GeometryError, match="CT and label map must lie on the same grid"):
        require_same_grid(grid, Grid(SHAPE, off), "CT and label map")


@pytest.mark.parametrize(("degrees", "oblique"), [(0, False), (0.3, False), (0.7, True), (30, True)])
def test_oblique_begins_at_half_a_degree(degrees, oblique):
    assert tilted(grid_of("RAS"), degrees).is_oblique is oblique


def test_a_grid_cannot_be_changed_through_the_affine_it_was_made_from():
    affine = np.eye(4)
    grid = Grid((2, 2, 2), affine)
    affine[0, 0] = 7
    assert grid.affine[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 7


def test_a_grid_describes_itself_for_messages():
    text = Grid((122, 101, 112), np.diag([-3.0, -3.0, 3.0, 1.0])).describe()
    assert text == "122x101x112 voxels of 3 x 3 x 3 mm, LPS, R -364..2, A -302..2, S -2..334 mm"


@pytest.mark.parametrize(
    ("shape", "change", "message"),
    [
        ((2, 0, 2), {}, "three positive voxel counts"),
        ((2, 2, 2), {(0, 0): np.nan}, "finite 4x4"),
        ((2, 2, 2), {(0, 3): np.inf}, "finite 4x4"),
        ((2, 2, 2), {(3, 0): 1.0}, "last row is 0 0 0 1"),
        ((2, 2, 2), {(1, 1): 0.0}, "not independent"),
    ],
)
def test_an_unusable_grid_is_refused_with_the_reason(shape, change, message):
    affine = np.eye(4)
    for place, value in change.items():
        affine[place] = value
    with pytest.raises(GeometryError, match=message):
        Grid(shape, affine)
