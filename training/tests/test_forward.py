"""Crops of a batch pass through the network together and give what each gives alone."""

from __future__ import annotations

import pytest
import torch
from training_phantom import smoke_config

from ctglip_training.forward import CropFeatures, backbone_stages, checkpoint_activations
from ctglip_training.network import new_model
from CTGLIPLib.backbones import build_backbone
from CTGLIPLib.mit import MiT, MiTConfig


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return new_model(smoke_config(tmp_path_factory.mktemp("none"))).double()


def images(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *shape, generator=generator, dtype=torch.float64) for shape in shapes]


def test_features_and_gradients_of_a_batch_equal_those_of_single_crops(model):
    crops = images((16, 16, 16), (16, 24, 16), (16, 16, 16))
    together = CropFeatures(model)(crops)
    alone = [model.features(crop[None])[0] for crop in crops]
    assert [f.shape[1:] for f in together] == [crop.shape[1:] for crop in crops]
    for ours, single in zip(together, alone, strict=True):
        assert torch.allclose(ours.double(), single, atol=1e-5)
    weights = [p for name, p in model.backbone.named_parameters() if name.endswith("weight")]
    ours, single = (torch.autograd.grad(sum(f.square().mean() for f in fs), weights) for fs in (together, alone))
    for a, b in zip(ours, single, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-7)


def test_crops_of_one_shape_take_one_pass(model, monkeypatch):
    passes = []
    whole = type(model).features
    monkeypatch.setattr(type(model), "features", lambda self, batch: passes.append(len(batch)) or whole(self, batch))
    CropFeatures(model)(images((16, 16, 16), (16, 16, 32), (16, 16, 16)))
    assert passes == [2, 2]  # one small one alone is doubled, which is faster on the CPU


def test_a_large_crop_is_not_doubled(model, monkeypatch):
    passes = []
    monkeypatch.setattr(type(model), "features", lambda _, batch: passes.append(len(batch)) or batch)
    CropFeatures(model)([torch.zeros(3, 48, 48, 8), torch.zeros(3, 48, 56, 8)])  # 8 features
    assert passes == [2, 1]


SMALL_MIT = MiTConfig((1, 1), (8, 16), (1, 2), (2, 1), stem_width=4, decoder_depth=1, native_size_ijk=(16, 16, 8))


@pytest.mark.parametrize("backbone", [build_backbone("tiny", 1), MiT(1, SMALL_MIT)], ids=["cnn", "mit"])
def test_checkpointed_activations_give_the_same_features_and_gradients(backbone):
    image = torch.rand(2, 1, 16, 16, 32, generator=torch.Generator().manual_seed(0))
    weights = list(backbone.parameters())
    whole = torch.autograd.grad(backbone(image).square().mean(), weights)
    inputs = []
    for stage in backbone_stages(backbone):
        stage.register_forward_hook(lambda *_: inputs.append(1))
    checkpoint_activations(backbone)
    ours = torch.autograd.grad(backbone(image).square().mean(), weights)
    assert len(inputs) == len(backbone_stages(backbone)) >= 3
    for a, b in zip(ours, whole, strict=True):
        assert torch.equal(a, b)


def test_bf16_is_close_to_fp32_and_comes_back_as_fp32(tmp_path):
    model = new_model(smoke_config(tmp_path))
    crops = [crop.float() for crop in images((32, 32, 32), (32, 32, 32))]
    (whole, _), (half, _) = CropFeatures(model)(crops), CropFeatures(model, "bf16")(crops)
    assert half.dtype == torch.float32
    assert not torch.equal(half, whole)
    assert torch.nn.functional.cosine_similarity(half.flatten(), whole.flatten(), dim=0) > 0.99
