"""The vision encoders by name.

Each takes an image `(batch, channel, i, j, k)` and returns features `(batch, out_channels, i, j, k)` at the same size,
without a segmentation head; every side of the image must be a multiple of the encoder's `stride_ijk`.

Sources: PlainConvUNet is nnU-Net v2's network (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z); the widths of
`paper` are nnU-Net's defaults. The paper names nnU-Net without its width, so `tiny` and `small` are ours for small
machines. MiT is UniMiSS's medical transformer (Xie et al. 2022, arXiv:2112.09356) in its two published sizes.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

from torch import Tensor
from torch.nn import functional

from CTGLIPLib.errors import ConfigError
from CTGLIPLib.mit import MiT, MiTConfig
from CTGLIPLib.plain_unet import PlainConvUNet, PlainUNetConfig
from CTGLIPLib.types import Features, Image


@runtime_checkable
class Backbone(Protocol):
    """What every vision encoder offers.

    Attributes:
        in_channels: channels of the image that it takes.
        out_channels: width of the features that it returns.
        stride_ijk: every side of the image must be a multiple of this.
        pyramid_channels: width of the features of each level of its decoder, finest first.
    """

    in_channels: int
    out_channels: int
    stride_ijk: tuple[int, int, int]
    pyramid_channels: tuple[int, ...]

    def forward(self, image: Image) -> Features:
        """The features of `image`, at its size."""
        ...

    def pyramid(self, image: Image) -> list[Tensor]:
        """The features after every level of the decoder, finest first; the first is what `forward` returns."""
        ...


def _plain_unet(in_channels: int, *, base: int, stages: int) -> PlainConvUNet:
    return PlainConvUNet(in_channels, PlainUNetConfig.isotropic(base, stages))


def _mit(in_channels: int, *, depths: tuple[int, ...]) -> MiT:
    return MiT(in_channels, MiTConfig(depths))


BACKBONES: dict[str, Callable[[int], PlainConvUNet | MiT]] = {
    "tiny": partial(_plain_unet, base=8, stages=5),
    "small": partial(_plain_unet, base=16, stages=5),
    "paper": partial(_plain_unet, base=32, stages=6),
    "mit-tiny": partial(_mit, depths=(1, 1, 1, 1)),
    "mit-small": partial(_mit, depths=(2, 3, 4, 3)),
}


def build_backbone(name: str, in_channels: int) -> PlainConvUNet | MiT:
    """A vision encoder with fresh weights.

    Raises:
        ConfigError: if there is no encoder of that name, or `in_channels` is less than one.
    """
    if name not in BACKBONES:
        close = difflib.get_close_matches(name, BACKBONES, n=1, cutoff=0.4)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        msg = f"Unknown vision encoder '{name}'; expected one of {', '.join(BACKBONES)}.{hint}"
        raise ConfigError(msg)
    if in_channels < 1:
        msg = f"A vision encoder needs one input channel or more, got {in_channels}."
        raise ConfigError(msg)
    return BACKBONES[name](in_channels)


def features_of_any_size(
    encode: Callable[[Image], Features], stride_ijk: tuple[int, int, int], image: Image
) -> Features:
    """The features of an image whose sides need not be multiples of the encoder's stride, at the image's size.

    The image is padded by repeating its border up to the stride, and the features are cut back: air would shift the
    instance norm of a thin slab.
    """
    size = image.shape[2:]
    missing = [-n % s for n, s in zip(size, stride_ijk, strict=True)]
    if all(n + m == s for n, m, s in zip(size, missing, stride_ijk, strict=True)):
        missing[2] += stride_ijk[2]  # instance norm cannot norm the one voxel that the coarsest stage would have
    padded = functional.pad(image, (0, missing[2], 0, missing[1], 0, missing[0]), mode="replicate")
    return encode(padded)[:, :, : size[0], : size[1], : size[2]]
