"""Histograms of HU: against numpy's interpolation and scipy's box means, voxel by voxel and organ by organ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from CTGLIPLib import intensity
from CTGLIPLib.intensity import BINS, CELL_HU, HU_CENTRES, MAP_CENTRES, bin_sums, histograms, hu_maps, organ_histograms

WINDOW_HU = (-1000.0, 1000.0)


def hats(values: np.ndarray, centres: tuple[float, ...]) -> np.ndarray:
    """Each bin's hat function at the values, shape (value, bin)."""
    return np.stack([np.interp(values, centres, row) for row in np.eye(len(centres))], axis=1)


def plain_maps(hu: np.ndarray) -> list[np.ndarray]:
    """The three maps by scipy, in float64."""
    near, wide = (ndimage.uniform_filter(hu.astype(np.float64), edge, mode="nearest") for edge in (3, 9))
    return [hu, near, near - wide]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.floats(-4000, 4000, width=32), min_size=1, max_size=30))
def test_a_voxels_shares_are_those_of_the_two_nearest_centres_and_average_to_its_hu(values):
    hu = np.array(values, dtype=np.float32)
    rows = histograms([hu, hu, hu])[:, : len(HU_CENTRES)]
    assert rows.min() >= 0
    assert (rows > 0).sum(axis=1).max() <= 2
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows @ np.array(HU_CENTRES), hu.clip(-1000, 1000), atol=1e-2, rtol=1e-5)


def test_voxels_histograms_equal_numpys_interpolation(rng):
    maps = rng.uniform(-1200, 1200, (3, 400)).astype(np.float32)
    expected = np.concatenate([hats(m, centres) for m, centres in zip(maps, MAP_CENTRES, strict=True)], axis=1)
    found = histograms(maps)
    assert found.shape == (400, BINS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("centres", MAP_CENTRES)
def test_sums_of_bins_are_the_summed_shares_of_each_groups_values(centres, rng):
    values = np.concatenate([rng.normal(0, 400, 3000), centres, [-2000, 2000]]).astype(np.float32)
    group = rng.integers(0, 4, len(values))
    found = bin_sums(values, centres, group, 5)
    for number in range(5):
        np.testing.assert_allclose(found[number], hats(values[group == number], centres).sum(axis=0), atol=1e-3)
    together = bin_sums(values, centres, 0, 1)[0]
    np.testing.assert_allclose(together, found.sum(axis=0), atol=1e-6)


def test_every_centre_is_a_multiple_of_a_cell():
    assert all(centre % CELL_HU == 0 for centres in MAP_CENTRES for centre in centres)


@pytest.mark.parametrize("shape", [(12, 9, 14), (1, 2, 3)])
def test_hu_maps_are_the_ct_its_box_mean_and_what_stands_out(shape, rng):
    hu = rng.normal(0, 300, shape).astype(np.float32)
    for found, expected in zip(hu_maps(hu), plain_maps(hu), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("slab", [5, 32, 99])
def test_an_organs_histograms_are_the_mean_of_its_voxels_whatever_the_slabs(slab, rng, monkeypatch):
    monkeypatch.setattr(intensity, "SLAB_VOXELS", slab)
    image = rng.random((23, 17, 40)).astype(np.float32)
    layers = np.zeros((2, *image.shape), np.uint16)
    layers[0] = rng.integers(0, 4, image.shape)
    layers[0, :, :, 20:31] = 0
    layers[1, 3:9, 0:5, 2:39] = 6
    found = organ_histograms(image, layers, 6, WINDOW_HU)
    maps = plain_maps(image * 2000.0 - 1000.0)
    for organ in (1, 2, 3, 6):
        inside = (layers == organ).any(axis=0)
        rows = [hats(m[inside], centres) for m, centres in zip(maps, MAP_CENTRES, strict=True)]
        np.testing.assert_allclose(found[organ - 1], np.concatenate(rows, axis=1).mean(axis=0), atol=1e-5)
    assert not found[3:5].any()
    assert found.dtype == np.float32


def test_a_study_without_organs_has_zeros(rng):
    assert not organ_histograms(rng.random((4, 5, 6)), np.zeros((1, 4, 5, 6), np.uint16), 2).any()
