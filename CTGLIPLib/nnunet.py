"""Weights of a network that nnU-Net v2 trained, such as TotalSegmentator's, brought into our plain U-Net.

Conventions, each guarded in test_nnunet.py:
- nnU-Net's network axes are the file's k, j, i, reordered by its plans' `transpose_forward`. Kernels, strides, spacing
  and weights come back in our i, j, k order, so an image must not be transposed for a loaded network. TotalSegmentator
  reads images in RAS orientation; give the network that orientation too.
- A checkpoint is a pickle: only tensors, plain values and numpy numbers are read, anything else is refused by name.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from CTGLIPLib.conv_blocks import Triple
from CTGLIPLib.errors import CheckpointError, ConfigError
from CTGLIPLib.nnunet_plans import NnUNetPlans, read_plans
from CTGLIPLib.plain_unet import PlainConvUNet, without_duplicates

_FIRST_CONVOLUTION = "encoder.stages.0.0.convs.0.conv.weight"
_PREFIX = "nnunet:"
_NUMPY_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS = [  # what nnU-Net's log of losses is made of; numpy 1 and 2 name the first differently
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float16", "float32", "float64", "int32", "int64", "bool")),
]


@dataclass(frozen=True)
class NnUNet:
    """A trained network without its segmentation head, and the plans that say how to prepare an image for it."""

    network: PlainConvUNet
    plans: NnUNetPlans


def load_nnunet(folder: Path, fold: int | Literal["all"] = 0, checkpoint: str = "checkpoint_final.pth") -> NnUNet:
    """The network of one fold of an nnU-Net v2 results folder, on the CPU.

    Args:
        folder: the folder that holds `plans.json`, `dataset.json` and the folds, such as
            `nnUNetTrainer__nnUNetPlans__3d_fullres`.
        fold: which of the trained folds.
        checkpoint: the file in the fold's folder.

    Raises:
        CheckpointError: if a file is missing or broken, the checkpoint holds more than weights and plain values, or the
            network is not a plain 3-D U-Net.
    """
    path = folder / f"fold_{fold}" / checkpoint
    if not path.is_file():
        found = ", ".join(sorted(file.relative_to(folder).as_posix() for file in folder.glob("fold_*/*.pth"))) or "none"
        msg = f"No nnU-Net checkpoint at {path}; the folder's checkpoints are: {found}. Give the folder of plans.json."
        raise CheckpointError(msg)
    stored = _read_checkpoint(path)
    plans = read_plans(folder, _configuration_name(stored, folder))
    weights = {name: _to_ijk(tensor, plans.network_axes_ijk) for name, tensor in _weights(stored, path).items()}
    network = PlainConvUNet(weights[_FIRST_CONVOLUTION].shape[1], plans.layout)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        msg = f"The weights in {path} do not fit the network of {folder / 'plans.json'}: {error}"
        raise CheckpointError(msg) from error
    return NnUNet(network, plans)


def initialise_from(backbone: nn.Module, init_from: str) -> NnUNet:
    """The network that `init_from` names, after its weights were copied into `backbone`.

    Args:
        backbone: changed in place; a plain U-Net of the same layout, with as many input channels or more. Further input
            channels get zero weights: at first they change nothing.
        init_from: "nnunet:" and the results folder.

    Raises:
        ConfigError: if `init_from` has another form, or `backbone` another layout.
        CheckpointError: if the folder cannot be read; see `load_nnunet`.
    """
    if not init_from.startswith(_PREFIX) or init_from == _PREFIX:
        msg = f"init_from must be '{_PREFIX}FOLDER' with the results folder of nnU-Net, got '{init_from}'."
        raise ConfigError(msg)
    if not isinstance(backbone, PlainConvUNet):
        msg = f"Weights of nnU-Net fit a plain U-Net only, got {type(backbone).__name__}. Choose the encoder 'paper'."
        raise ConfigError(msg)
    source = load_nnunet(Path(init_from.removeprefix(_PREFIX)).expanduser())
    copy_weights(source.network, backbone)
    return source


def copy_weights(source: PlainConvUNet, target: PlainConvUNet) -> None:
    """Nothing; `target` then gives the features of `source`, whatever its further input channels hold.

    Raises:
        ConfigError: if the layouts differ, or `target` has fewer input channels.
    """
    if target.config != source.config:
        msg = f"The weights need a U-Net of this layout: {source.config}. The encoder has: {target.config}."
        raise ConfigError(msg)
    extra = target.in_channels - source.in_channels
    if extra < 0:
        msg = f"The weights need {source.in_channels} input channels or more, the encoder has {target.in_channels}."
        raise ConfigError(msg)
    state = source.state_dict()
    first = state[_FIRST_CONVOLUTION]
    state[_FIRST_CONVOLUTION] = torch.cat((first, first.new_zeros(len(first), extra, *first.shape[2:])), dim=1)
    target.load_state_dict(state)


def _read_checkpoint(path: Path) -> Mapping[str, Any]:
    with torch.serialization.safe_globals(_HARMLESS):
        try:
            refused = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
            stored = None if refused else torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            msg = f"Could not read {path} as a checkpoint of nnU-Net v2: {reason}. Copy or download it again."
            raise CheckpointError(msg) from error
    if refused:
        msg = (
            f"{path} holds more than weights and plain values ({', '.join(sorted(refused))}) and was not opened, "
            "because reading such a file can run code. Save it again with network_weights and init_args alone."
        )
        raise CheckpointError(msg)
    if not isinstance(stored, Mapping):
        msg = f"Expected a dictionary with 'network_weights' in {path}, got {type(stored).__name__}."
        raise CheckpointError(msg)
    return cast("Mapping[str, Any]", stored)


def _configuration_name(stored: Mapping[str, Any], folder: Path) -> str:
    """The configuration that the checkpoint names, else the one in the folder's name."""
    arguments = stored.get("init_args")
    named = arguments.get("configuration") if isinstance(arguments, Mapping) else None
    return named if isinstance(named, str) else folder.resolve().name.rsplit("__", maxsplit=1)[-1]


def _weights(stored: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    state = stored.get("network_weights")
    if not isinstance(state, Mapping):
        msg = f"Expected nnU-Net's 'network_weights' in {path}, got {sorted(map(str, stored))}."
        raise CheckpointError(msg)
    weights = without_duplicates(cast("Mapping[str, Tensor]", state))
    if _FIRST_CONVOLUTION not in weights:
        msg = f"Expected the weights of a plain U-Net in {path}; '{_FIRST_CONVOLUTION}' is missing."
        raise CheckpointError(msg)
    return weights


def _to_ijk(tensor: Tensor, network_axes_ijk: Triple) -> Tensor:
    if tensor.ndim != 5:
        return tensor
    return tensor.permute(0, 1, *(axis + 2 for axis in network_axes_ijk)).contiguous()
