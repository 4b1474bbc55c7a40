"""Organ pooling against numpy, by both ways to sum and from both layouts, with NaN outside the masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from CTGLIPLib import pooling
from CTGLIPLib.errors import LabelError
from CTGLIPLib.pooling import OrganPool, organ_index, voxel_rows

SHAPE = (11, 9, 13)


def study(rng: np.random.Generator, organs: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, label map and weights of a window; half of it is no organ."""
    features = torch.from_numpy(rng.normal(size=(7, *SHAPE)).astype(np.float32))
    layer = (rng.integers(1, organs + 1, SHAPE) * (rng.random(SHAPE) < 0.5)).astype(np.uint16)
    return features, torch.from_numpy(layer), torch.from_numpy(rng.uniform(0.1, 1, SHAPE).astype(np.float32))


def plain_means(features: torch.Tensor, layer: torch.Tensor, weight: torch.Tensor, organs: int) -> np.ndarray:
    """Weighted mean under each organ's mask, in float64."""
    values, shares = features.detach().double().numpy(), weight.double().numpy()
    masks = [layer.numpy() == number + 1 for number in range(organs)]
    return np.array([(values * shares)[:, m].sum(axis=1) / max(shares[m].sum(), 1e-6) for m in masks])


@pytest.fixture(params=["on a processor", "with gradient, as on other devices"])
def pooled(request: pytest.FixtureRequest):
    """A way to make the pool sum as there."""
    learns = request.param != "on a processor"
    return lambda features: features.clone().requires_grad_(learns)


def test_the_mean_of_every_organ_equals_a_numpy_loop_over_several_windows(pooled, rng, monkeypatch):
    monkeypatch.setattr(pooling, "CHUNK_VOXELS", 100)
    monkeypatch.setattr(pooling, "BLOCK_VOXELS", 100)
    windows = [study(rng) for _ in range(3)]
    pool = OrganPool(6)
    for features, layer, weight in windows:
        pool.add(pooled(features), layer, weight)
    features, layer, weight = (torch.cat(parts, dim=-1) for parts in zip(*windows, strict=True))
    means = pool.means()
    assert means.dtype == torch.float32
    np.testing.assert_allclose(means.detach().numpy(), plain_means(features, layer, weight, 6), atol=1e-6)
    assert (means[5] == 0).all()


@pytest.mark.parametrize("layout", ["channels first", "channels last", "cut", "cut, channels last"])
def test_every_layout_in_memory_gives_the_same_means(layout, rng):
    features, layer, weight = study(rng)
    expected = plain_means(features, layer, weight, 5)
    if "cut" in layout:
        features = torch.nn.functional.pad(features, (0, 3, 0, 2, 0, 1), value=float("nan"))
    if "last" in layout:
        features = features[None].contiguous(memory_format=torch.channels_last_3d)[0]
        assert features.stride(0) == 1
    features = features[:, : SHAPE[0], : SHAPE[1], : SHAPE[2]]
    pool = OrganPool(5)
    pool.add(features, layer, weight)
    np.testing.assert_allclose(pool.means().numpy(), expected, atol=1e-6)


def test_channels_are_what_is_averaged(pooled, rng):
    features, layer, weight = study(rng)
    pool = OrganPool(5, lambda rows: torch.cat([rows, rows.square()], dim=1))
    pool.add(pooled(features), layer, weight)
    expected = plain_means(torch.cat([features, features.square()]), layer, weight, 5)
    np.testing.assert_allclose(pool.means().detach().numpy(), expected, atol=1e-6)


def test_values_outside_the_masks_may_be_nan(pooled, rng):
    features = torch.full((3, 6, 5, 4), float("nan"))
    layer = torch.zeros(6, 5, 4, dtype=torch.int64)
    layer[1:4, 2:4, 1:3] = 2
    inside = torch.from_numpy(rng.normal(size=(3, 12)).astype(np.float32))
    features[:, layer == 2] = inside
    pool = OrganPool(2)
    pool.add(pooled(features), layer, torch.ones(6, 5, 4))
    np.testing.assert_allclose(pool.means()[1].detach().numpy(), inside.numpy().mean(axis=1), atol=1e-6)
    assert torch.isfinite(pool.means()).all()


def test_a_window_without_organs_adds_nothing(pooled, rng):
    features, layer, weight = study(rng)
    pool = OrganPool(5)
    pool.add(pooled(features), torch.zeros_like(layer), weight)
    assert (pool.means() == 0).all()
    pool.add(pooled(features), layer, weight)
    np.testing.assert_allclose(pool.means().detach().numpy(), plain_means(features, layer, weight, 5), atol=1e-6)


def test_an_organ_that_the_pool_does_not_know_is_refused(pooled, rng, monkeypatch):
    monkeypatch.setattr(pooling, "BLOCK_VOXELS", 100)
    features, layer, weight = study(rng, organs=5)
    with pytest.raises(LabelError, match="Expected organs numbered 1 to 4, got 5"):
        OrganPool(4).add(pooled(features), layer, weight)


def test_rows_are_the_channel_values_at_flat_indices():
    features = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    rows = voxel_rows(features, torch.tensor([(2 * 4 + 3) * 5 + 1, 0]))
    assert rows.tolist() == [features[:, 2, 3, 1].tolist(), features[:, 0, 0, 0].tolist()]


def test_organ_indices_are_flat_and_counted_from_zero():
    layer = torch.zeros(2, 3, 4, dtype=torch.int64)
    layer[0, 2, 1], layer[1, 0, 3] = 5, 1
    index, organ = organ_index(layer)
    assert index.tolist() == [9, 15]
    assert organ.tolist() == [4, 0]


def test_half_a_million_voxels_of_one_organ_keep_five_digits(pooled, rng):
    features = torch.from_numpy(rng.random((2, 50, 100, 100), dtype=np.float32) * 0.2 + 0.1)
    pool = OrganPool(1)
    pool.add(pooled(features), torch.ones(features.shape[1:], dtype=torch.int64), torch.full(features.shape[1:], 0.3))
    expected = features.double().mean(dim=(1, 2, 3)).numpy()
    np.testing.assert_allclose(pool.means()[0].detach().numpy(), expected, rtol=5e-6)


def test_gradients_reach_the_features():
    features = torch.ones(2, 1, 1, 5, requires_grad=True)
    pool = OrganPool(2)
    pool.add(features, torch.tensor([[[1, 1, 1, 2, 0]]]), torch.ones(1, 1, 5))
    pool.means().sum().backward()
    assert features.grad is not None
    torch.testing.assert_close(features.grad[0, 0, 0], torch.tensor([1 / 3, 1 / 3, 1 / 3, 1.0, 0.0]))


def test_means_before_any_voxel_is_an_error():
    with pytest.raises(RuntimeError, match="before any voxel"):
        OrganPool(3).means()
