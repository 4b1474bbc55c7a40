"""The plain U-Net against nnU-Net's own network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from CTGLIPLib.errors import ConfigError
from CTGLIPLib.plain_unet import PlainConvUNet, PlainUNetConfig, without_duplicates

CONFIGS = {
    "isotropic, 5 stages": (PlainUNetConfig.isotropic(4, 5), (32, 16, 32)),
    "isotropic, 6 stages": (PlainUNetConfig.isotropic(2, 6), (32, 64, 32)),
    "anisotropic, 5 stages": (
        PlainUNetConfig(
            features=(4, 6, 8, 8, 10),
            kernel_sizes_ijk=((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
            strides_ijk=((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 1)),
            n_conv_encoder=(1, 2, 3, 2, 2),
            n_conv_decoder=(2, 1, 2, 1),
        ),
        (4, 32, 16),
    ),
}


def nnunet_network(config: PlainUNetConfig, in_channels: int) -> nn.Module:
    architectures = pytest.importorskip("dynamic_network_architectures.architectures.unet", exc_type=ImportError)
    return architectures.PlainConvUNet(
        input_channels=in_channels,
        n_stages=len(config.features),
        features_per_stage=list(config.features),
        conv_op=nn.Conv3d,
        kernel_sizes=[list(kernel) for kernel in config.kernel_sizes_ijk],
        strides=[list(stride) for stride in config.strides_ijk],
        n_conv_per_stage=list(config.n_conv_encoder),
        num_classes=3,
        n_conv_per_stage_decoder=list(config.n_conv_decoder),
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )


def randomise(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)


@pytest.mark.parametrize("name", CONFIGS)
def test_features_equal_the_input_of_nnunets_last_segmentation_layer(name: str) -> None:
    torch.manual_seed(0)
    config, size_ijk = CONFIGS[name]
    theirs = nnunet_network(config, in_channels=2).eval()
    randomise(theirs)
    ours = PlainConvUNet(2, config).eval()
    ours.load_state_dict(without_duplicates(theirs.state_dict()))
    seen: list[torch.Tensor] = []
    theirs.get_submodule("decoder.stages")[-1].register_forward_hook(lambda *arguments: seen.append(arguments[-1]))  # pyright: ignore[reportIndexIssue] reason: a ModuleList
    image = torch.randn(2, 2, *size_ijk)
    with torch.inference_mode():
        theirs(image)
        features = ours(image)
    assert features.shape == (2, config.features[0], *size_ijk)
    torch.testing.assert_close(features, seen[0], rtol=1e-5, atol=3e-5)
    torch.testing.assert_close(ours(image).detach(), seen[0].clone(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameter_name_is_one_of_nnunets(name: str) -> None:
    config, _ = CONFIGS[name]
    theirs = nnunet_network(config, in_channels=1).state_dict()
    ours = PlainConvUNet(1, config).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in without_duplicates(theirs).items()
    }
    assert set(ours) <= set(theirs)


def test_prefixes_of_compiled_and_distributed_networks_are_taken_off() -> None:
    state = {"module._orig_mod.encoder.a": torch.zeros(1), "_orig_mod.decoder.seg_layers.0.weight": torch.zeros(1)}
    assert list(without_duplicates(state)) == ["encoder.a"]


def test_widths_double_up_to_the_cap_as_in_nnunet() -> None:
    assert PlainUNetConfig.isotropic(32, 6).features == (32, 64, 128, 256, 320, 320)
    assert PlainUNetConfig.isotropic(16, 5).total_stride_ijk == (16, 16, 16)
    assert PlainUNetConfig.isotropic(8, 5).features == (8, 16, 32, 64, 80)


def test_anisotropic_strides_multiply_per_axis() -> None:
    config, _ = CONFIGS["anisotropic, 5 stages"]
    assert PlainConvUNet(1, config).stride_ijk == (4, 16, 8)


def test_every_weight_gets_a_gradient() -> None:
    torch.manual_seed(0)
    network = PlainConvUNet(1, PlainUNetConfig.isotropic(2, 3))
    features = network(torch.randn(1, 1, 8, 8, 8))
    (features * torch.randn_like(features)).sum().backward()
    dead = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or (not name.endswith("bias") and not parameter.grad.any())
    ]
    assert dead == []


@pytest.mark.parametrize(("size_ijk", "word"), [((32, 24, 32), "multiple of"), ((16, 16, 16), "one voxel")])
def test_an_image_of_unusable_size_is_refused(size_ijk: tuple[int, int, int], word: str) -> None:
    network = PlainConvUNet(1, PlainUNetConfig.isotropic(2, 5))
    with pytest.raises(ConfigError, match=word):
        network(torch.zeros(1, 1, *size_ijk))


def test_a_layout_whose_parts_do_not_fit_is_refused() -> None:
    good = PlainUNetConfig.isotropic(2, 3)
    with pytest.raises(ConfigError, match="3 stages"):
        PlainUNetConfig(good.features, good.kernel_sizes_ijk[:2], good.strides_ijk, (2, 2, 2), (2, 2))
    with pytest.raises(ConfigError, match="first stride"):
        PlainUNetConfig(good.features, good.kernel_sizes_ijk, ((2, 2, 2),) * 3, (2, 2, 2), (2, 2))
    with pytest.raises(ConfigError, match="odd"):
        PlainUNetConfig(good.features, ((2, 2, 2),) * 3, good.strides_ijk, (2, 2, 2), (2, 2))
