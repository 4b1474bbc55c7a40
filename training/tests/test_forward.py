"""Crops of a batch pass through the network together and give what each gives alone."""

from __future__ import annotations

import pytest
import torch
from training_phantom import smoke_config

from ctglip_training.forward import crop_features
from ctglip_training.loop import new_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return new_model(smoke_config(tmp_path_factory.mktemp("none"))).double()


def images(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *shape, generator=generator, dtype=torch.float64) for shape in shapes]


def test_features_and_gradients_of_a_batch_equal_those_of_single_crops(model):
    crops = images((16, 16, 16), (16, 24, 16), (16, 16, 16))
    together = crop_features(model, crops)
    alone = [model.features(crop[None])[0] for crop in crops]
    assert [f.shape[1:] for f in together] == [crop.shape[1:] for crop in crops]
    for ours, single in zip(together, alone, strict=True):
        assert torch.allclose(ours, single, atol=1e-9)
    weights = [p for name, p in model.backbone.named_parameters() if name.endswith("weight")]
    ours, single = (torch.autograd.grad(sum(f.square().mean() for f in fs), weights) for fs in (together, alone))
    for a, b in zip(ours, single, strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-9)


def test_crops_of_one_shape_take_one_pass(model, monkeypatch):
    passes = []
    whole = type(model).features
    monkeypatch.setattr(type(model), "features", lambda self, batch: passes.append(len(batch)) or whole(self, batch))
    crop_features(model, images((16, 16, 16), (16, 16, 32), (16, 16, 16)))
    assert passes == [2, 1]
