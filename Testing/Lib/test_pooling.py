"""Organ pooling against numpy, with NaN outside the masks, and over many voxels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from CTGLIPLib.model import organ_index
from CTGLIPLib.pooling import OrganPool, voxel_rows


def test_the_mean_of_every_organ_equals_a_numpy_loop(rng):
    rows = rng.normal(size=(500, 7)).astype(np.float32)
    organ, weight = rng.integers(0, 5, 500), rng.uniform(0.1, 1, 500).astype(np.float32)
    pool = OrganPool(6)
    for part in np.array_split(np.arange(500), 3):
        pool.add(*(torch.from_numpy(values[part]) for values in (rows, organ, weight)))
    means = pool.means().numpy()
    for number in range(5):
        mine = organ == number
        expected = (rows[mine].astype(np.float64) * weight[mine, None]).sum(0) / weight[mine].sum()
        np.testing.assert_allclose(means[number], expected, atol=1e-6)
    assert (means[5] == 0).all()


def test_values_outside_the_masks_may_be_nan(rng):
    features = torch.full((3, 6, 5, 4), float("nan"))
    layer = torch.zeros(6, 5, 4, dtype=torch.int64)
    layer[1:4, 2:4, 1:3] = 2
    inside = torch.from_numpy(rng.normal(size=(3, 12)).astype(np.float32))
    features[:, layer == 2] = inside
    index, organ = organ_index(layer)
    pool = OrganPool(2)
    pool.add(voxel_rows(features, index), organ, torch.ones(len(index)))
    np.testing.assert_allclose(pool.means()[1].numpy(), inside.numpy().mean(axis=1), atol=1e-6)
    assert torch.isfinite(pool.means()).all()


def test_rows_are_the_channel_values_at_flat_indices():
    features = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    rows = voxel_rows(features, torch.tensor([(2 * 4 + 3) * 5 + 1, 0]))
    assert rows.tolist() == [features[:, 2, 3, 1].tolist(), features[:, 0, 0, 0].tolist()]


def test_half_a_million_voxels_of_one_organ_keep_five_digits(rng):
    rows = (rng.random((500_000, 2), dtype=np.float32) * 0.2 + 0.1).astype(np.float32)
    pool = OrganPool(1)
    pool.add(torch.from_numpy(rows), torch.zeros(len(rows), dtype=torch.int64), torch.full((len(rows),), 0.3))
    np.testing.assert_allclose(pool.means()[0].numpy(), rows.mean(axis=0, dtype=np.float64), rtol=5e-6)


def test_gradients_reach_the_rows():
    rows = torch.ones(4, 2, requires_grad=True)
    pool = OrganPool(2)
    pool.add(rows, torch.tensor([0, 0, 0, 1]), torch.ones(4))
    pool.means().sum().backward()
    assert rows.grad is not None
    torch.testing.assert_close(rows.grad[:, 0], torch.tensor([1 / 3, 1 / 3, 1 / 3, 1.0]))


def test_means_before_any_voxel_is_an_error():
    with pytest.raises(RuntimeError, match="before any voxel"):
        OrganPool(3).means()
