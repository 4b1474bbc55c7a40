"""Figures of masks against MONAI, and at their ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ctglip_training.evaluation.segmentation import MaskFigures, dice, mask_figures, summarise_masks, surface_distances
from CTGLIPLib.errors import GeometryError, InputError

SPACING = (0.8, 1.5, 3.0)


def blobs(rng) -> tuple[np.ndarray, np.ndarray]:
    field = gaussian_filter(rng.normal(size=(24, 20, 16)), 2.5)
    other = field + 0.3 * gaussian_filter(rng.normal(size=field.shape), 2.5)
    return field > np.percentile(field, 90), other > np.percentile(other, 88)


@pytest.mark.filterwarnings("ignore:monai.metrics.utils:FutureWarning")  # MONAI 1.6 warns of its own call
def test_the_figures_equal_monais(rng):
    pytest.importorskip("monai", reason="MONAI is the independent implementation; pip install monai to compare")
    import torch
    from monai.metrics import DiceMetric, HausdorffDistanceMetric, SurfaceDiceMetric

    predicted, true = blobs(rng)
    tensors = [torch.from_numpy(mask)[None, None].float() for mask in (predicted, true)]
    found = mask_figures(predicted, true, SPACING, tolerance_mm=2.0)
    hausdorff = HausdorffDistanceMetric(include_background=True, percentile=95)
    surface = SurfaceDiceMetric([2.0], include_background=True)
    assert found.dice == pytest.approx(DiceMetric()(*tensors).item(), abs=1e-6)
    assert found.hd95_mm == pytest.approx(hausdorff(*tensors, spacing=SPACING).item(), rel=1e-5)
    assert found.nsd == pytest.approx(surface(*tensors, spacing=SPACING).item(), abs=1e-6)


def test_distances_equal_a_search_over_all_pairs_of_surface_voxels(rng):
    predicted, true = np.zeros((2, 6, 5, 4), dtype=bool)
    predicted[1:3, 1:3, 1] = True  # two voxels thick or less: all of it is surface
    true[4, 3, 2] = true[0, 0, 0] = True
    points = [np.argwhere(mask) * SPACING for mask in (predicted, true)]
    pairs = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1)
    to_true, to_predicted = surface_distances(predicted, true, SPACING)
    assert to_true == pytest.approx(pairs.min(axis=1))
    assert to_predicted == pytest.approx(pairs.min(axis=0))


def test_the_same_mask_is_perfect_and_volumes_are_in_mm3(rng):
    _, true = blobs(rng)
    found = mask_figures(true, true, SPACING)
    assert (found.dice, found.hd95_mm, found.nsd) == (1.0, 0.0, 1.0)
    assert found.true_mm3 == pytest.approx(true.sum() * 3.6)
    assert found.predicted_mm3 == found.true_mm3


def test_a_shifted_cube_has_the_distance_of_its_shift():
    true = np.zeros((20, 12, 12), dtype=bool)
    true[4:10, 3:9, 3:9] = True
    found = mask_figures(np.roll(true, 2, axis=0), true, (1.5, 1.0, 1.0), tolerance_mm=2.9)
    assert found.hd95_mm == pytest.approx(3.0)
    assert found.dice == pytest.approx(4 / 6)
    assert 0 < found.nsd < 1


def test_a_mask_at_the_border_has_its_surface_there():
    true = np.ones((3, 3, 3), dtype=bool)
    smaller = np.zeros_like(true)
    smaller[1, 1, 1] = True
    to_true, to_predicted = surface_distances(smaller, true, (1.0, 1.0, 1.0))
    assert to_true.tolist() == [1.0]
    assert len(to_predicted) == 26


def test_empty_masks_follow_the_documented_rule(rng):
    _, true = blobs(rng)
    empty = np.zeros_like(true)
    for predicted, truth in ((empty, true), (true, empty)):
        found = mask_figures(predicted, truth, SPACING)
        assert (found.dice, found.hd95_mm, found.nsd) == (0.0, math.inf, 0.0)
    both = mask_figures(empty, empty, SPACING)
    assert all(math.isnan(value) for value in (both.dice, both.hd95_mm, both.nsd))
    assert math.isnan(dice(empty, empty))


@pytest.mark.parametrize(("shape", "spacing"), [((24, 20, 15), SPACING), ((24, 20, 16), (1.0, 0.0, 1.0))])
def test_other_grids_are_refused(rng, shape, spacing):
    _, true = blobs(rng)
    with pytest.raises(GeometryError, match="Expected two masks of one 3-D shape and a positive spacing, got shapes"):
        mask_figures(np.zeros(shape, dtype=bool), true, spacing)


def test_the_summary_is_the_mean_of_what_can_be_measured_and_counts_the_rest():
    figures = [
        MaskFigures(0.8, 4.0, 0.9, 10.0, 12.0),
        MaskFigures(0.6, 2.0, 0.7, 9.0, 12.0),
        MaskFigures(0.0, math.inf, 0.0, 0.0, 12.0),
        MaskFigures(0.0, math.inf, 0.0, 5.0, 0.0),
        MaskFigures(math.nan, math.nan, math.nan, 0.0, 0.0),
    ]
    found = summarise_masks(figures, ["p", "p", "q", "r", "s"], repeats=200)
    assert (found.dice.value, found.hd95_mm.value, found.nsd.value) == pytest.approx((0.35, 3.0, 0.4))
    assert (found.masks, found.missed, found.invented) == (5, 1, 1)
    assert found.dice.low == 0.0
    assert 0.35 < found.dice.high <= 0.7
    assert (found.hd95_mm.low, found.hd95_mm.high) == (3.0, 3.0)  # both of one patient: always drawn together


def test_the_summarys_interval_is_that_of_the_mean(rng):
    values = rng.random(200)
    found = summarise_masks([MaskFigures(v, 1.0, 1.0, 1.0, 1.0) for v in values], range(200))
    assert found.dice.high - found.dice.low == pytest.approx(2 * 1.96 * values.std() / 200**0.5, rel=0.15)


@pytest.mark.parametrize(("masks", "patients"), [(0, 0), (1, 2)])
def test_masks_without_their_patients_are_refused(masks, patients):
    with pytest.raises(InputError, match=f"Expected a patient for each mask, got {masks} masks and {patients} pat"):
        summarise_masks([MaskFigures(1.0, 0.0, 1.0, 1.0, 1.0)] * masks, list(range(patients)))
