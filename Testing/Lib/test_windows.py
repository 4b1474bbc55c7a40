"""Windows cover every organ voxel, stay within their size, and blend with shares that sum to one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import compute_importance_map, dense_patch_slices

from CTGLIPLib.windows import blend_weight, bounding_box, plan_windows


def lengths(box) -> tuple[int, ...]:
    return tuple(side.stop - side.start for side in box)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    shape=st.tuples(*[st.integers(1, 30)] * 3),
    patch=st.integers(6, 20),
    overlap=st.floats(0, 0.9),
    seed=st.integers(0, 999),
    density=st.sampled_from([0.0005, 0.02, 0.5]),
)
def test_windows_cover_every_organ_voxel_within_the_patch_size(shape, patch, overlap, seed, density):
    occupied = np.random.default_rng(seed).random(shape) < density
    plan = plan_windows(occupied, patch, overlap)
    covered = np.zeros(shape, bool)
    for box in plan.boxes:
        assert lengths(box) == tuple(min(n, patch) for n in shape)
        assert all(side.start >= 0 and side.stop <= n for side, n in zip(box, shape, strict=True))
        assert occupied[box].any()
        covered[box] = True
    assert covered[occupied].all()


@pytest.mark.parametrize("density", [0.0005, 0.3])
def test_shares_of_all_windows_sum_to_one_at_every_organ_voxel(density, rng):
    occupied = rng.random((2, 37, 45, 10)) < density
    plan = plan_windows(occupied, 16, 0.5)
    total = np.zeros((37, 45, 10))
    for box in plan.boxes:
        total[box] += plan.weight(box)
    assert len(plan.boxes) >= 4
    np.testing.assert_allclose(total[occupied.any(axis=0)], 1, atol=1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(shape=st.tuples(*[st.integers(1, 60)] * 3), patch=st.integers(6, 30), overlap=st.sampled_from([0.0, 0.25, 0.5]))
def test_the_lattice_is_that_of_monais_sliding_window(shape, patch, overlap):
    size = tuple(min(n, patch) for n in shape)
    steps = tuple(n if n == s else int(s * (1 - overlap)) for n, s in zip(shape, size, strict=True))
    assert list(plan_windows(np.ones(shape, bool), patch, overlap).boxes) == dense_patch_slices(shape, size, steps)


def test_windows_are_skipped_where_no_organ_is():
    occupied = np.zeros((64, 64, 20), bool)
    occupied[:8, :8] = occupied[-8:, -8:] = True
    boxes = plan_windows(occupied, 16, 0.5).boxes
    assert len(boxes) == 4
    assert all((box[0].start < 32) == (box[1].start < 32) for box in boxes)


def test_a_small_organ_gets_the_windows_that_the_whole_scan_would_have_there():
    occupied = np.zeros((90, 90, 90), bool)
    occupied[33:40, 3:9, 80:90] = True
    plan, whole = plan_windows(occupied, 32, 0.5), plan_windows(np.ones((90, 90, 90), bool), 32, 0.5)
    starts = {tuple(side.start for side in box) for box in plan.boxes}
    assert starts == {(16, 0, 58), (32, 0, 58)}
    for box in plan.boxes:
        np.testing.assert_array_equal(plan.weight(box), whole.weight(box))


def test_a_thin_slab_gets_windows_cut_to_it():
    boxes = plan_windows(np.ones((40, 40, 10), bool), 32, 0.5).boxes
    assert {lengths(box) for box in boxes} == {(32, 32, 10)}


def test_no_organ_means_no_window():
    assert plan_windows(np.zeros((5, 6, 7), bool), 16, 0.5).boxes == ()


@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 16, 5), (33, 2, 3)])
def test_the_blending_weight_is_a_symmetric_bump_as_monais(shape):
    weight = blend_weight(shape)
    np.testing.assert_array_equal(weight, weight[::-1, ::-1, ::-1])
    assert weight.max() == weight[tuple(n // 2 for n in shape)] <= 1
    theirs = compute_importance_map(shape, "gaussian", sigma_scale=0.125)
    np.testing.assert_allclose(weight, theirs.numpy(), rtol=1e-5)


def test_the_bounding_box_holds_every_voxel_and_no_empty_face():
    mask = np.zeros((6, 7, 8), dtype=bool)
    mask[1, 5, 2] = mask[4, 3, 7] = True
    assert bounding_box(mask) == (slice(1, 5), slice(3, 6), slice(2, 8))
