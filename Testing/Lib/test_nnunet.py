"""Weights of nnU-Net v2, from results folders written in its own format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from CTGLIPLib.backbones import build_backbone
from CTGLIPLib.errors import CheckpointError, ConfigError
from CTGLIPLib.nnunet import copy_weights, initialise_from, load_nnunet
from CTGLIPLib.plain_unet import PlainConvUNet, PlainUNetConfig

FOLDER_NAME = "nnUNetTrainer__nnUNetPlans__3d_fullres"
KERNELS = [[1, 3, 3], [3, 3, 3], [3, 3, 3]]
STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 4]]
FEATURES = [4, 8, 12]
NEW_STYLE = {
    "architecture": {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": FEATURES,
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": KERNELS,
            "strides": STRIDES,
            "n_conv_per_stage": [2, 1, 2],
            "n_conv_per_stage_decoder": [2, 1],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
}
OLD_STYLE = {
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 4,
    "unet_max_num_features": 12,
    "conv_kernel_sizes": KERNELS,
    "pool_op_kernel_sizes": STRIDES,
    "n_conv_per_stage_encoder": [2, 1, 2],
    "n_conv_per_stage_decoder": [2, 1],
    "num_pool_per_axis": [1, 2, 3],
}
INTENSITIES = {"mean": 35.5, "std": 120.0, "percentile_00_5": -900.0, "percentile_99_5": 800.0, "median": 40.0}


def nnunet_network(in_channels: int = 1) -> Any:
    architectures = pytest.importorskip("dynamic_network_architectures.architectures.unet", exc_type=ImportError)
    torch.manual_seed(3)
    network = architectures.PlainConvUNet(
        input_channels=in_channels,
        n_stages=3,
        features_per_stage=FEATURES,
        conv_op=nn.Conv3d,
        kernel_sizes=KERNELS,
        strides=STRIDES,
        n_conv_per_stage=[2, 1, 2],
        num_classes=3,
        n_conv_per_stage_decoder=[2, 1],
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return network.eval()


def checkpoint_of(network: nn.Module, **more: object) -> dict[str, object]:
    return {
        "network_weights": network.state_dict(),
        "init_args": {"configuration": "3d_fullres", "fold": 0, "device": torch.device("cpu")},
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.25)], "dice_per_class_or_region": [[np.float32(1)]]},
        "_best_ema": np.float64(0.5),
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        **more,
    }


def write_folder(
    parent: Path, style: dict[str, Any], checkpoint: dict[str, object], transpose: tuple[int, ...] = (0, 1, 2)
) -> Path:
    folder = parent / FOLDER_NAME
    (folder / "fold_0").mkdir(parents=True)
    base = {
        "spacing": [3.0, 1.5, 0.75],
        "patch_size": [8, 16, 32],
        "normalization_schemes": ["CTNormalization"],
        "data_identifier": "x",
    }
    plans = {
        "plans_name": "nnUNetPlans",
        "transpose_forward": list(transpose),
        "configurations": {"parent": {**base, **style}, "3d_fullres": {"inherits_from": "parent", "batch_size": 2}},
        "foreground_intensity_properties_per_channel": {"0": INTENSITIES},
    }
    dataset = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "spleen": 1, "kidneys": [2, 3]}}
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def features_of_nnunet(network: Any, image: torch.Tensor) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    hook = network.decoder.stages[-1].register_forward_hook(lambda *arguments: seen.append(arguments[-1]))
    with torch.inference_mode():
        network(image)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("style", [NEW_STYLE, OLD_STYLE], ids=["new plans", "old plans"])
@pytest.mark.parametrize("transpose", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_features_equal_nnunets_own_on_the_same_patient(
    tmp_path: Path, style: dict[str, Any], transpose: tuple[int, int, int]
) -> None:
    theirs = nnunet_network()
    loaded = load_nnunet(write_folder(tmp_path, style, checkpoint_of(theirs), transpose))
    array_zyx = torch.randn(1, 1, 16, 32, 48)
    expected = features_of_nnunet(theirs, array_zyx.permute(0, 1, *(axis + 2 for axis in transpose)))
    with torch.inference_mode():
        features = loaded.network.eval()(array_zyx.permute(0, 1, 4, 3, 2))
    features_zyx = features.permute(0, 1, 4, 3, 2)
    torch.testing.assert_close(
        features_zyx.permute(0, 1, *(axis + 2 for axis in transpose)), expected, rtol=1e-5, atol=1e-5
    )


def test_plans_come_back_in_our_axis_order(tmp_path: Path) -> None:
    plans = load_nnunet(write_folder(tmp_path, NEW_STYLE, checkpoint_of(nnunet_network()))).plans
    assert plans.spacing_ijk_mm == (0.75, 1.5, 3.0)
    assert plans.patch_size_ijk == (32, 16, 8)
    assert plans.layout.strides_ijk == ((1, 1, 1), (2, 2, 1), (4, 2, 2))
    assert plans.layout.kernel_sizes_ijk[0] == (3, 3, 1)
    assert plans.layout.total_stride_ijk == (8, 4, 2)
    assert plans.labels == {"0": "background", "1": "spleen", "2+3": "kidneys"}
    channel = plans.channels[0]
    assert (channel.scheme, channel.mean, channel.standard_deviation) == ("CTNormalization", 35.5, 120.0)
    assert (channel.percentile_00_5, channel.percentile_99_5) == (-900.0, 800.0)


def test_further_input_channels_change_nothing_at_first(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, NEW_STYLE, checkpoint_of(nnunet_network()))
    source = load_nnunet(folder)
    backbone = PlainConvUNet(4, source.plans.layout).eval()
    initialise_from(backbone, f"nnunet:{folder}")
    ct, coordinates = torch.randn(1, 1, 16, 16, 8), 10 * torch.randn(1, 3, 16, 16, 8)
    with torch.inference_mode():
        expected = source.network.eval()(ct)
        features = backbone(torch.cat((ct, coordinates), dim=1))
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


def test_a_preset_of_the_same_layout_takes_the_weights(tmp_path: Path) -> None:
    preset = build_backbone("tiny", 1)
    assert isinstance(preset, PlainConvUNet)
    torch.manual_seed(9)
    source = PlainConvUNet(1, preset.config)
    copy_weights(source, preset)
    assert all(torch.equal(value, preset.state_dict()[name]) for name, value in source.state_dict().items())


def test_other_layouts_encoders_and_forms_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, NEW_STYLE, checkpoint_of(nnunet_network(in_channels=2)))
    layout = load_nnunet(folder).plans.layout
    with pytest.raises(ConfigError, match="U-Net of this layout"):
        initialise_from(PlainConvUNet(2, PlainUNetConfig.isotropic(4, 3)), f"nnunet:{folder}")
    with pytest.raises(ConfigError, match="2 input channels or more, the encoder has 1"):
        initialise_from(PlainConvUNet(1, layout), f"nnunet:{folder}")
    with pytest.raises(ConfigError, match="plain U-Net only, got MiT"):
        initialise_from(build_backbone("mit-tiny", 1), f"nnunet:{folder}")
    with pytest.raises(ConfigError, match="must be 'nnunet:FOLDER'"):
        initialise_from(PlainConvUNet(1, layout), str(folder))


def test_a_network_of_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    style = json.loads(json.dumps(NEW_STYLE))
    style["architecture"]["network_class_name"] = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    folder = write_folder(tmp_path, style, checkpoint_of(nnunet_network()))
    with pytest.raises(CheckpointError, match=r"ResidualEncoderUNet, only PlainConvUNet .* nnUNetPlans"):
        load_nnunet(folder)


@pytest.mark.parametrize(
    ("part", "value", "word"),
    [
        ("norm_op", "torch.nn.BatchNorm3d", "norm_op must be InstanceNorm3d"),
        ("dropout_op", "torch.nn.Dropout3d", "dropout_op must be None"),
        ("nonlin_kwargs", {"negative_slope": 0.2}, "negative slope"),
        ("strides", [[2, 2, 2]] * 3, "first stride"),
    ],
)
def test_a_network_of_other_parts_is_refused(tmp_path: Path, part: str, value: object, word: str) -> None:
    style = json.loads(json.dumps(NEW_STYLE))
    style["architecture"]["arch_kwargs"][part] = value
    folder = write_folder(tmp_path, style, checkpoint_of(nnunet_network()))
    with pytest.raises(CheckpointError, match=word):
        load_nnunet(folder)


class Intruder:
    """What a pickle could run."""


def test_a_checkpoint_with_more_than_plain_values_is_refused_unopened(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, NEW_STYLE, checkpoint_of(nnunet_network(), extra=Intruder()))
    with pytest.raises(CheckpointError, match=r"more than weights and plain values \(.*Intruder\)"):
        load_nnunet(folder)


def test_broken_and_missing_files_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, NEW_STYLE, checkpoint_of(nnunet_network()))
    with pytest.raises(CheckpointError, match="checkpoints are: fold_0/checkpoint_final.pth"):
        load_nnunet(folder, fold="all")
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = path.read_bytes()
    for part in (content[: len(content) // 2], b"", b"not a checkpoint"):
        path.write_bytes(part)
        with pytest.raises(CheckpointError, match="Could not read .* as a checkpoint of nnU-Net v2"):
            load_nnunet(folder)
    path.write_bytes(content)
    (folder / "dataset.json").unlink()
    with pytest.raises(CheckpointError, match=r"dataset\.json is missing"):
        load_nnunet(folder)
    (folder / "dataset.json").write_text("{")
    with pytest.raises(CheckpointError, match="as JSON"):
        load_nnunet(folder)
    (folder / "dataset.json").write_text("[]")
    with pytest.raises(CheckpointError, match="Expected a JSON object"):
        load_nnunet(folder)
    (folder / "dataset.json").write_text("{}")
    with pytest.raises(CheckpointError, match="'labels' is missing"):
        load_nnunet(folder)


def test_checkpoints_that_do_not_fit_their_plans_are_refused(tmp_path: Path) -> None:
    theirs = nnunet_network()
    stored = checkpoint_of(theirs)
    for number, (change, word) in enumerate(
        [
            ({"network_weights": None}, "Expected nnU-Net's 'network_weights'"),
            ({"network_weights": {"a": torch.zeros(1)}}, "of a plain U-Net"),
            ({"init_args": {"configuration": "2d"}}, "no usable configuration '2d'"),
            ({"network_weights": PlainConvUNet(1, PlainUNetConfig.isotropic(4, 3)).state_dict()}, "do not fit"),
        ]
    ):
        folder = write_folder(tmp_path / str(number), NEW_STYLE, {**stored, **change})
        with pytest.raises(CheckpointError, match=word):
            load_nnunet(folder)
