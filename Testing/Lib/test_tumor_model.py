"""The network of a tumour model."""

from __future__ import annotations

import pytest
import torch

from CTGLIPLib.backbones import BACKBONES
from CTGLIPLib.config import ModelConfig, PreprocessConfig
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.tumor_config import TumorConfig
from CTGLIPLib.tumor_model import TumorSegmenter, take_backbone

CONFIG = TumorConfig(classes=("liver", "mass"), tumors=("mass",), backbone="tiny")


def make(config: TumorConfig = CONFIG) -> TumorSegmenter:
    torch.manual_seed(0)
    return TumorSegmenter(config).eval()


@pytest.mark.parametrize("name", BACKBONES)
def test_every_encoder_gives_logits_at_each_decoder_level_from_fine_to_coarse(name):
    with torch.device("meta"):
        network = TumorSegmenter(TumorConfig(backbone=name))
    size = tuple(2 * stride for stride in network.backbone.stride_ijk)
    levels = network(torch.zeros(2, 1, *size, device="meta"))
    shapes = [tuple(level.shape[2:]) for level in levels]
    assert shapes[0] == size
    assert shapes == sorted(shapes, reverse=True)
    assert len(set(shapes)) == len(shapes) == len(network.heads)
    assert all(level.shape[:2] == (2, 2) for level in levels)


@pytest.mark.parametrize("name", ["tiny", "mit-tiny"])
def test_the_finest_level_is_what_the_encoder_returns(name):
    torch.manual_seed(1)
    backbone = TumorSegmenter(TumorConfig(backbone=name)).eval().backbone
    image = torch.rand(1, 1, *backbone.stride_ijk[:2], 2 * backbone.stride_ijk[2])
    with torch.inference_mode():
        torch.testing.assert_close(backbone.pyramid(image)[0], backbone(image), rtol=0, atol=0)


def test_inference_gives_the_first_level_of_training():
    network, image = make(), torch.rand(1, 1, 32, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(network.logits(image), network(image)[0], rtol=0, atol=0)


def test_inference_takes_an_image_of_any_size():
    with torch.inference_mode():
        assert make().logits(torch.rand(1, 1, 19, 33, 5)).shape == (1, 3, 19, 33, 5)


def test_every_parameter_gets_a_gradient_from_the_levels_together():
    network = make().train()
    sum(level.square().mean() for level in network(torch.rand(1, 1, 32, 32, 32))).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


def test_the_pretrained_backbone_is_taken_whole():
    torch.manual_seed(5)
    pretrained = GroundedEncoder(ModelConfig("tiny"), PreprocessConfig()).eval()
    network, image = make(), torch.rand(1, 1, 32, 16, 16)
    before = network.heads[0].weight.clone()
    take_backbone(network, pretrained)
    with torch.inference_mode():
        torch.testing.assert_close(network.backbone(image), pretrained.features(image), rtol=0, atol=0)
    torch.testing.assert_close(network.heads[0].weight, before, rtol=0, atol=0)


@pytest.mark.parametrize("other", [ModelConfig("small"), ModelConfig("tiny", coordinates=True)])
def test_a_backbone_of_another_kind_is_refused(other):
    with pytest.raises(ConfigError, match="needs the vision encoder tiny with coordinates=False, but .* Configure"):
        take_backbone(make(), GroundedEncoder(other, PreprocessConfig()))
