"""The plain convolutional U-Net of nnU-Net v2, ending in its full-resolution feature map.

Conventions, each guarded in test_plain_unet.py:
- Parameters carry nnU-Net's names (`encoder.stages.0.0.convs.0.conv.weight`, `decoder.transpconvs.0.weight`), without
  its second names for the same tensors (`all_modules`, `decoder.encoder`) and without its segmentation layers.
- The output is what nnU-Net's last segmentation layer would see, at the size of the input.
- Kernels and strides are in i, j, k order like every tensor here; CTGLIPLib.nnunet turns nnU-Net's own axes into it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from CTGLIPLib.conv_blocks import ConvBlock, Triple, check_image_size, he_initialise
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.types import Features, Image


@dataclass(frozen=True)
class PlainUNetConfig:
    """The layout of a plain U-Net: one entry per resolution, from the finest to the coarsest.

    Raises:
        ConfigError: if the tuples do not describe the same number of stages, or the finest stage is strided.
    """

    features: tuple[int, ...]
    kernel_sizes_ijk: tuple[Triple, ...]
    strides_ijk: tuple[Triple, ...]
    n_conv_encoder: tuple[int, ...]
    n_conv_decoder: tuple[int, ...]

    def __post_init__(self) -> None:
        n = len(self.features)
        lengths = (len(self.kernel_sizes_ijk), len(self.strides_ijk), len(self.n_conv_encoder))
        if n < 2 or any(length != n for length in lengths) or len(self.n_conv_decoder) != n - 1:
            msg = (
                f"A U-Net of {n} stages (two or more) needs {n} kernel sizes, strides and encoder convolution counts "
                f"and {n - 1} decoder counts; got {lengths} and {len(self.n_conv_decoder)}."
            )
            raise ConfigError(msg)
        if self.strides_ijk[0] != (1, 1, 1):
            msg = f"The first stride must be (1, 1, 1) for features at full resolution, got {self.strides_ijk[0]}."
            raise ConfigError(msg)
        if any(size < 1 or size % 2 == 0 for kernel in self.kernel_sizes_ijk for size in kernel):
            msg = f"Kernel sizes must be odd, got {self.kernel_sizes_ijk}."
            raise ConfigError(msg)

    @classmethod
    def isotropic(cls, base: int, stages: int) -> PlainUNetConfig:
        """A layout of 3x3x3 kernels that halves every axis at each stage; widths double from `base` up to ten times it.

        With `base` 32 these are nnU-Net's default widths, 32 to 320.
        """
        return cls(
            features=tuple(min(base * 2**stage, 10 * base) for stage in range(stages)),
            kernel_sizes_ijk=((3, 3, 3),) * stages,
            strides_ijk=((1, 1, 1),) + ((2, 2, 2),) * (stages - 1),
            n_conv_encoder=(2,) * stages,
            n_conv_decoder=(2,) * (stages - 1),
        )

    @property
    def total_stride_ijk(self) -> Triple:
        """How much smaller than the input the coarsest stage is, along each axis."""
        return cast("Triple", tuple(math.prod(stride[axis] for stride in self.strides_ijk) for axis in range(3)))


class PlainConvUNet(nn.Module):
    """Full-resolution features of a volume, `(batch, out_channels, i, j, k)` from `(batch, in_channels, i, j, k)`.

    Source: nnU-Net v2 (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z), network PlainConvUNet.

    Attributes:
        out_channels: width of the returned features.
        stride_ijk: every axis of the input must be a multiple of this.
        pyramid_channels: width of each level of `pyramid`.
    """

    def __init__(self, in_channels: int, config: PlainUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.in_channels = in_channels
        self.out_channels = config.features[0]
        self.pyramid_channels = config.features[:-1]
        self.stride_ijk = config.total_stride_ijk
        self.encoder = _Encoder(in_channels, config)
        self.decoder = _Decoder(config)
        self.apply(he_initialise)

    def forward(self, image: Image) -> Features:
        """The features of `image`, at its size.

        Raises:
            ConfigError: if a side is not a multiple of `stride_ijk`, or the image is too small to be normalised.
        """
        check_image_size(image.shape[2:], self.stride_ijk, self.stride_ijk)
        return self.decoder(self.encoder(image))

    def pyramid(self, image: Image) -> list[Tensor]:
        """The features after every level of the decoder, finest first; the first is what `forward` returns.

        Raises:
            ConfigError: as `forward`.
        """
        check_image_size(image.shape[2:], self.stride_ijk, self.stride_ijk)
        return list(self.decoder.levels(self.encoder(image)))[::-1]


class _ConvStack(nn.Module):
    def __init__(self, channels: Sequence[int], kernel_ijk: Triple, stride_ijk: Triple) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(
                ConvBlock(width_in, width_out, kernel_ijk, stride_ijk if position == 0 else (1, 1, 1))
                for position, (width_in, width_out) in enumerate(zip(channels[:-1], channels[1:], strict=True))
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x)


class _Encoder(nn.Module):
    def __init__(self, in_channels: int, config: PlainUNetConfig) -> None:
        super().__init__()
        self.stages = nn.Sequential()
        width = in_channels
        for stage, features in enumerate(config.features):
            channels = [width, *[features] * config.n_conv_encoder[stage]]
            stack = _ConvStack(channels, config.kernel_sizes_ijk[stage], config.strides_ijk[stage])
            self.stages.append(nn.Sequential(stack))
            width = features

    def forward(self, x: Tensor) -> list[Tensor]:
        """The output of every stage, from the finest to the coarsest."""
        skips: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        return skips


class _Decoder(nn.Module):
    def __init__(self, config: PlainUNetConfig) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        self.transpconvs = nn.ModuleList()
        for position, n_conv in enumerate(config.n_conv_decoder):
            below = len(config.features) - 1 - position
            stride, skip_width = config.strides_ijk[below], config.features[below - 1]
            self.transpconvs.append(nn.ConvTranspose3d(config.features[below], skip_width, stride, stride))
            channels = [2 * skip_width, *[skip_width] * n_conv]
            self.stages.append(_ConvStack(channels, config.kernel_sizes_ijk[below - 1], (1, 1, 1)))

    def forward(self, skips: list[Tensor]) -> Tensor:
        return deque(self.levels(skips), maxlen=1).pop()  # the coarser levels are not held

    def levels(self, skips: list[Tensor]) -> Iterator[Tensor]:
        """The output of every level, from the coarsest to the finest; `skips` is emptied, so that none is held long."""
        x = skips.pop()
        for expand, stage in zip(self.transpconvs, self.stages, strict=True):
            x = stage(torch.cat((expand(x), skips.pop()), dim=1))
            yield x


def without_duplicates(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an nnU-Net state dict that a PlainConvUNet here has, under one name each.

    Left out are nnU-Net's second names for the same tensors and the segmentation layers; the prefixes that
    torch.compile and DistributedDataParallel add are taken off.
    """
    kept: dict[str, Tensor] = {}
    for full_name, tensor in state.items():
        name = full_name.removeprefix("module.").removeprefix("_orig_mod.")
        if ".all_modules." in name or name.startswith(("decoder.encoder.", "decoder.seg_layers.")):
            continue
        kept[name] = tensor
    return kept
