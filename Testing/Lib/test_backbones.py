"""The vision encoders by name."""

from __future__ import annotations

import pytest
import torch

from CTGLIPLib.backbones import BACKBONES, Backbone, build_backbone
from CTGLIPLib.errors import ConfigError

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("name", "n_parameters"),
    [
        ("tiny", 1.04 * MILLION),
        ("small", 4.14 * MILLION),
        ("paper", 31.2 * MILLION),
        ("mit-tiny", 22.3 * MILLION),
        ("mit-small", 35.5 * MILLION),
    ],
)
def test_presets_have_the_known_size(name: str, n_parameters: float) -> None:
    with torch.device("meta"):
        network = build_backbone(name, 1)
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(n_parameters, rel=0.01)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_encoder_returns_full_resolution_features_of_a_non_cubic_image(name: str) -> None:
    with torch.device("meta"):
        network = build_backbone(name, 2)
    assert isinstance(network, Backbone)
    size_ijk = tuple(stride * factor for stride, factor in zip(network.stride_ijk, (1, 2, 3), strict=True))
    features = network(torch.zeros(2, 2, *size_ijk, device="meta"))
    assert features.shape == (2, network.out_channels, *size_ijk)


def test_an_unknown_name_is_refused_with_the_closest_one() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'small'"):
        build_backbone("smal", 1)


def test_no_input_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match="one input channel or more, got 0"):
        build_backbone("tiny", 0)
