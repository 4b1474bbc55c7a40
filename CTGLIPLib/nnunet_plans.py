"""The plans of an nnU-Net v2 results folder: what its network looks like and how an image is prepared for it.

Everything comes back in our i, j, k order; CTGLIPLib.nnunet says how nnU-Net's own axes relate to it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from CTGLIPLib.conv_blocks import Triple
from CTGLIPLib.errors import CheckpointError, ConfigError
from CTGLIPLib.plain_unet import PlainUNetConfig

_SUPPORTED = "PlainConvUNet"
_EXPECTED_PARTS = {"conv_op": "Conv3d", "norm_op": "InstanceNorm3d", "nonlin": "LeakyReLU", "dropout_op": None}


@dataclass(frozen=True)
class ChannelIntensity:
    """How nnU-Net normalises one input channel, in the channel's own unit (HU for CT).

    CTNormalization clips to the percentiles, subtracts the mean and divides by the standard deviation.
    """

    scheme: str
    mean: float
    standard_deviation: float
    percentile_00_5: float
    percentile_99_5: float


@dataclass(frozen=True)
class NnUNetPlans:
    """What a results folder says beside its weights.

    `network_axes_ijk` holds, for each of i, j, k, the axis of nnU-Net's network that it is; `labels` maps a class of
    the segmentation head to its name (a region's classes are joined by "+").
    """

    configuration: str
    layout: PlainUNetConfig
    network_axes_ijk: Triple
    spacing_ijk_mm: tuple[float, float, float]
    patch_size_ijk: Triple
    channels: tuple[ChannelIntensity, ...]
    labels: dict[str, str]


def read_plans(folder: Path, configuration: str) -> NnUNetPlans:
    """The plans in `folder` for one of its configurations, such as "3d_fullres".

    Raises:
        CheckpointError: if `plans.json` or `dataset.json` is missing, broken or lacks an entry, or the network is not a
            plain 3-D U-Net of convolution, instance normalisation and leaky rectifier.
    """
    plans, dataset = _read_json(folder / "plans.json"), _read_json(folder / "dataset.json")
    try:
        chosen = _configuration(plans, configuration)
        forward = list(plans.get("transpose_forward", (0, 1, 2)))
        axes = cast("Triple", tuple(forward.index(2 - axis) for axis in range(3)))
        spacing = [float(chosen["spacing"][axis]) for axis in axes]
        patch = [int(chosen["patch_size"][axis]) for axis in axes]
        return NnUNetPlans(
            configuration=configuration,
            layout=_layout(chosen, axes),
            network_axes_ijk=axes,
            spacing_ijk_mm=(spacing[0], spacing[1], spacing[2]),
            patch_size_ijk=(patch[0], patch[1], patch[2]),
            channels=_channels(plans, chosen),
            labels=_labels(dataset),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        detail = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
        msg = f"The plans in {folder} are not those of nnU-Net v2 for a 3-D network: {detail}."
        raise CheckpointError(msg) from error
    except ConfigError as error:
        msg = f"The network in {folder / 'plans.json'} cannot give full-resolution features here: {error}"
        raise CheckpointError(msg) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"{path} is missing. Give the folder of nnU-Net v2 that holds plans.json, dataset.json and the folds."
        raise CheckpointError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"Could not read {path} as JSON: {error}. Copy or download it again."
        raise CheckpointError(msg) from error
    if not isinstance(content, dict):
        msg = f"Expected a JSON object in {path}, got {type(content).__name__}."
        raise CheckpointError(msg)
    return content


def _configuration(plans: dict[str, Any], name: str) -> dict[str, Any]:
    """The configuration `name` with everything that it inherits."""
    known: dict[str, dict[str, Any]] = plans["configurations"]
    lineage: list[str] = []
    parent: str | None = name
    while parent is not None:
        if parent not in known or parent in lineage:
            msg = f"no usable configuration '{parent}', only {', '.join(known)}"
            raise ValueError(msg)
        lineage.append(parent)
        parent = known[parent].get("inherits_from")
    merged: dict[str, Any] = {}
    for ancestor in reversed(lineage):
        merged.update(known[ancestor])
    return merged


def _layout(configuration: dict[str, Any], axes: Triple) -> PlainUNetConfig:
    if "architecture" not in configuration:
        return _old_layout(configuration, axes)
    architecture = configuration["architecture"]
    arguments: dict[str, Any] = architecture["arch_kwargs"]
    _refuse_other_networks(architecture["network_class_name"].rsplit(".", maxsplit=1)[-1], arguments)
    n = int(arguments["n_stages"])
    return PlainUNetConfig(
        features=_per_stage(arguments["features_per_stage"], n),
        kernel_sizes_ijk=_triples(arguments["kernel_sizes"], n, axes),
        strides_ijk=_triples(arguments["strides"], n, axes),
        n_conv_encoder=_per_stage(arguments["n_conv_per_stage"], n),
        n_conv_decoder=_per_stage(arguments["n_conv_per_stage_decoder"], n - 1),
    )


def _old_layout(configuration: dict[str, Any], axes: Triple) -> PlainUNetConfig:
    """The layout in plans that nnU-Net wrote before version 2.3, without an entry `architecture`."""
    _refuse_other_networks(configuration["UNet_class_name"], {})
    n = len(configuration["n_conv_per_stage_encoder"])
    base, widest = int(configuration["UNet_base_num_features"]), int(configuration["unet_max_num_features"])
    return PlainUNetConfig(
        features=tuple(min(base * 2**stage, widest) for stage in range(n)),
        kernel_sizes_ijk=_triples(configuration["conv_kernel_sizes"], n, axes),
        strides_ijk=_triples(configuration["pool_op_kernel_sizes"], n, axes),
        n_conv_encoder=_per_stage(configuration["n_conv_per_stage_encoder"], n),
        n_conv_decoder=_per_stage(configuration["n_conv_per_stage_decoder"], n - 1),
    )


def _refuse_other_networks(class_name: str, arguments: dict[str, Any]) -> None:
    """Nothing; where plans do not say what a part is, it is nnU-Net's default, which is ours."""
    if class_name != _SUPPORTED:
        msg = (
            f"the network is a {class_name}, only {_SUPPORTED} can be loaded; "
            "take a model that was trained with nnU-Net's default plans, nnUNetPlans"
        )
        raise ValueError(msg)
    for part, expected in _EXPECTED_PARTS.items():
        found = arguments.get(part, expected)
        if (found.rsplit(".", maxsplit=1)[-1] if isinstance(found, str) else found) != expected:
            msg = f"{part} must be {expected}, got {found}"
            raise ValueError(msg)
    norm, nonlin = arguments.get("norm_op_kwargs") or {}, arguments.get("nonlin_kwargs") or {}
    values = (
        norm.get("eps", 1e-5),
        norm.get("affine", True),
        nonlin.get("negative_slope", 0.01),
        arguments.get("conv_bias", True),
        arguments.get("nonlin_first", False),
    )
    if values != (1e-5, True, 0.01, True, False):
        msg = (
            f"epsilon, affine, negative slope, bias, nonlin_first must be 1e-05, True, 0.01, True, False; got {values}"
        )
        raise ValueError(msg)


def _per_stage(value: int | Sequence[int], n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else tuple(int(entry) for entry in value)


def _triples(value: int | Sequence[int | Sequence[int]], n: int, axes: Triple) -> tuple[Triple, ...]:
    """Per-stage sizes along i, j, k; nnU-Net may write one number for all stages, or for all axes."""
    per_stage = (value,) * n if isinstance(value, int) else value
    sizes = [(entry,) * 3 if isinstance(entry, int) else entry for entry in per_stage]
    return tuple(cast("Triple", tuple(int(size[axis]) for axis in axes)) for size in sizes)


def _channels(plans: dict[str, Any], configuration: dict[str, Any]) -> tuple[ChannelIntensity, ...]:
    name = "foreground_intensity_properties_per_channel"
    properties = plans[name if name in plans else "foreground_intensity_properties_by_modality"]
    return tuple(
        ChannelIntensity(
            scheme=scheme,
            mean=float(properties[str(channel)]["mean"]),
            standard_deviation=float(properties[str(channel)]["std"]),
            percentile_00_5=float(properties[str(channel)]["percentile_00_5"]),
            percentile_99_5=float(properties[str(channel)]["percentile_99_5"]),
        )
        for channel, scheme in enumerate(configuration["normalization_schemes"])
    )


def _labels(dataset: dict[str, Any]) -> dict[str, str]:
    return {
        "+".join(map(str, value)) if isinstance(value, list) else str(value): name
        for name, value in dataset["labels"].items()
    }
