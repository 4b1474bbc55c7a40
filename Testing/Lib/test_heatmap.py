"""The heat map tells an organ's halves apart, stays inside it and lies on the CT's grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from phantoms import cosines, reordered, tiny_model

from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.encode import encode_organs
from CTGLIPLib.errors import Cancelled
from CTGLIPLib.geometry import Grid
from CTGLIPLib.heatmap import Direction, hottest_ras_mm, on_grid, organ_heat
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.preprocess import Prepared, prepare
from CTGLIPLib.volume import Segmentation, Volume

CONFIG = PreprocessConfig(spacing_mm=2.0, patch_voxels=32, overlap=0.25)
GRID = Grid((48, 40, 36), np.array([[2, 0, 0, -47], [0, 2, 0, 10], [0, 0, 2, 300], [0, 0, 0, 1.0]]))
LOWER, UPPER = (slice(4, 24), slice(8, 30), slice(6, 30)), (slice(24, 44), slice(8, 30), slice(6, 30))


def liver_of_two_halves() -> Volume:
    array = np.full(GRID.shape_ijk, -100.0, np.float32)
    array[LOWER], array[UPPER] = 20.0, 160.0
    return Volume(array + np.random.default_rng(5).normal(0, 10, array.shape).astype(np.float32), GRID)


def organs(**boxes) -> Segmentation:
    layers = np.zeros((1, *GRID.shape_ijk), np.uint16)
    for number, parts in enumerate(boxes.values(), 1):
        for part in parts:
            layers[0][part] = number
    return Segmentation(layers, GRID, tuple(boxes))


@pytest.fixture(scope="module")
def model() -> GroundedEncoder:
    return tiny_model(CONFIG, intensity=True, power_mean=True)


@pytest.fixture(scope="module")
def whole() -> Prepared:
    return prepare(liver_of_two_halves(), organs(liver=[LOWER, UPPER]), CONFIG)


@pytest.fixture(scope="module")
def direction(model: GroundedEncoder) -> Direction:
    """From the dark half's embedding to the bright half's, each pooled as an organ of its own."""
    halves = prepare(liver_of_two_halves(), organs(dark=[LOWER], bright=[UPPER]), CONFIG)
    dark, bright = encode_organs(model, halves, CONFIG)
    return Direction(bright, dark)


@pytest.fixture(scope="module")
def heat(model: GroundedEncoder, whole: Prepared, direction: Direction) -> np.ndarray:
    return organ_heat(model, whole, CONFIG, {"liver": direction})


def test_the_map_separates_halves_of_different_density(heat):
    dark, bright = heat[LOWER], heat[UPPER]
    assert bright.min() > np.median(dark)
    assert (bright[5:] > dark[:-5].max()).all()


def test_it_is_nan_outside_the_organ_and_nowhere_inside(heat, whole):
    np.testing.assert_array_equal(np.isnan(heat), whole.segmentation.layers[0] == 0)
    assert heat.dtype == np.float32


def test_a_neighbourhood_far_from_the_border_between_the_halves_is_like_the_half_as_an_organ(heat, direction):
    opposed = cosines(direction.plus[None], direction.minus[None])[0]
    deep = heat[38:42, 15:22, 14:22]
    assert deep.mean() == pytest.approx(1 - opposed, rel=0.5)
    assert heat[6:10, 15:22, 14:22].mean() == pytest.approx(opposed - 1, rel=0.5)


def test_it_comes_to_the_cts_own_grid_with_the_organs_outline_there(heat, whole):
    fine = Grid((96, 80, 36), np.array([[1, 0, 0, -47.5], [0, 1, 0, 9.5], [0, 0, 2, 300], [0, 0, 0, 1.0]]))
    array, grid = reordered(np.zeros(fine.shape_ijk, np.float32), fine, (2, 1, 0), (True, False, True))
    layers = np.zeros((1, *fine.shape_ijk), np.uint16)
    layers[0, 8:88, 16:60, 6:30] = 1
    on_ct = Segmentation(reordered(layers, fine, (2, 1, 0), (True, False, True))[0], grid, ("liver",))
    found = on_grid(heat, whole.grid, on_ct, ("liver",))
    assert found.shape == array.shape
    np.testing.assert_array_equal(np.isnan(found), on_ct.layers[0] == 0)
    inside = np.argwhere(on_ct.layers[0] == 1)[::97]
    index = np.round(whole.grid.to_index(grid.to_ras(inside))).astype(int)
    expected = heat[tuple(index.T)]
    assert np.corrcoef(found[tuple(inside.T)], expected)[0, 1] > 0.99


def test_on_its_own_grid_it_stays_as_it_is(heat, whole):
    np.testing.assert_allclose(on_grid(heat, whole.grid, whole.segmentation, ("liver",)), heat, atol=1e-6)


def test_organs_not_asked_and_organs_without_voxels_stay_nan(model, direction):
    layers = organs(liver=[LOWER], spleen=[UPPER])
    study = prepare(liver_of_two_halves(), Segmentation(layers.layers, GRID, ("liver", "spleen", "colon")), CONFIG)
    found = organ_heat(model, study, CONFIG, {"liver": direction, "colon": direction})
    assert np.isfinite(found[LOWER]).all()
    assert np.isnan(found[UPPER]).all()
    nothing = organ_heat(model, study, CONFIG, {"colon": direction})
    assert np.isnan(on_grid(nothing, study.grid, study.segmentation, ("colon",))).all()


def test_organs_asked_together_need_one_pass_and_give_their_separate_answers(model, direction, monkeypatch):
    config = replace(CONFIG, patch_voxels=64)  # one window, whichever organ is asked
    study = prepare(liver_of_two_halves(), organs(liver=[LOWER], spleen=[UPPER]), config)
    other = Direction(direction.minus, np.zeros_like(direction.plus))
    apart = [organ_heat(model, study, config, asked) for asked in ({"liver": direction}, {"spleen": other})]
    seen, features = [], GroundedEncoder.features
    monkeypatch.setattr(GroundedEncoder, "features", lambda self, x: seen.append(x.shape) or features(self, x))
    together = organ_heat(model, study, config, {"liver": direction, "spleen": other})
    assert len(seen) == 1
    np.testing.assert_allclose(together[LOWER], apart[0][LOWER], atol=1e-5)
    np.testing.assert_allclose(together[UPPER], apart[1][UPPER], atol=1e-5)
    assert np.isfinite(together).sum() == sum(np.isfinite(heat).sum() for heat in apart)


def test_several_windows_are_seen_once_for_all_organs(model, whole, direction, monkeypatch):
    study = prepare(liver_of_two_halves(), organs(liver=[LOWER], spleen=[UPPER]), CONFIG)
    seen, features = [], GroundedEncoder.features
    monkeypatch.setattr(GroundedEncoder, "features", lambda self, x: seen.append(x.shape) or features(self, x))
    one = organ_heat(model, whole, CONFIG, {"liver": direction})
    windows = len(seen)
    two = organ_heat(model, study, CONFIG, {"liver": direction, "spleen": direction})
    assert windows > 1
    assert len(seen) == 2 * windows
    deep = (slice(6, 10), slice(15, 22), slice(14, 22))
    np.testing.assert_allclose(two[deep].mean(), one[deep].mean(), rtol=0.3)


def test_it_can_be_cancelled(model, whole, direction):
    with pytest.raises(Cancelled, match="Nothing was written"):
        organ_heat(model, whole, CONFIG, {"liver": direction}, lambda what, done, total: False)


def test_the_hottest_place_of_each_organ_is_its_first_hottest_voxel_in_ras(rng):
    affine = np.diag([-2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = (10, 20, 30)
    layers = np.zeros((2, 5, 6, 7), np.uint16)
    layers[0, :2], layers[0, 2:], layers[1, 1:3] = 1, 2, 3
    segmentation = Segmentation(layers, Grid((5, 6, 7), affine), ("liver", "spleen", "skin", "gone"))
    heat = rng.integers(0, 9, (5, 6, 7)).astype(np.float32)
    heat[0] = np.nan
    organs = ["skin", "liver", "gone"]
    found = hottest_ras_mm(heat, segmentation, organs)
    assert list(found) == ["skin", "liver"]
    for organ, place in found.items():
        inside = np.where(segmentation.mask(organ), heat, -np.inf)
        index = np.unravel_index(np.nanargmax(inside), heat.shape)
        assert place == pytest.approx(segmentation.grid.to_ras(np.array(index)))
    assert hottest_ras_mm(np.full_like(heat, np.nan), segmentation, organs) == {}
