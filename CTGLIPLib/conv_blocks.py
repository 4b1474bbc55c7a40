"""The convolution block that the vision encoders share, with its initial weights and the sizes it can work on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from CTGLIPLib.errors import ConfigError

Triple = tuple[int, int, int]
_NEGATIVE_SLOPE = 0.01
_CHUNK_VOXELS = 1 << 14
"""Squares summed before their sum is added: one float32 sum over a window makes features 12 times less exact."""


class ConvBlock(nn.Module):
    """Convolution that keeps the size (before its stride), instance normalisation, leaky rectifier: nnU-Net's block.

    Without gradients on a CPU the same is computed with channels last and in place, which halves a U-Net's time
    (docs/benchmarks.md). Guard: test_conv_blocks.py.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_ijk: Triple, stride_ijk: Triple) -> None:
        super().__init__()
        padding = (kernel_ijk[0] // 2, kernel_ijk[1] // 2, kernel_ijk[2] // 2)
        self.conv = nn.Conv3d(in_channels, out_channels, kernel_ijk, stride_ijk, padding)
        self.norm = nn.InstanceNorm3d(out_channels, eps=1e-5, affine=True)
        self.nonlin = nn.LeakyReLU(_NEGATIVE_SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Features `(batch, out_channels, i, j, k)` of `x`, smaller by the stride."""
        recorded = torch.is_grad_enabled() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        if recorded or x.device.type != "cpu" or x.dtype != torch.float32:
            return self.nonlin(self.norm(self.conv(x)))
        features = _convolve(self.conv, x.contiguous(memory_format=torch.channels_last_3d))
        return _normalise_and_rectify(features, self.norm)


def _convolve(conv: nn.Conv3d, x: Tensor) -> Tensor:
    """The convolution by oneDNN: for one small image torch takes a kernel that needs three times as long."""
    if not torch.backends.mkldnn.is_available():
        return conv(x)
    padding = [int(side) for side in conv.padding]
    return torch.mkldnn_convolution(x, conv.weight, conv.bias, padding, conv.stride, conv.dilation, conv.groups)


def _normalise_and_rectify(x: Tensor, norm: nn.InstanceNorm3d) -> Tensor:
    """`nonlin(norm(x))` in the memory of `x`."""
    x = x.contiguous(memory_format=torch.channels_last_3d)
    for image in x:
        rows = image.movedim(0, -1).view(-1, len(image))
        rows -= rows.mean(dim=0)
        norms = torch.stack([torch.linalg.vector_norm(part, dim=0) for part in rows.split(_CHUNK_VOXELS)])
        variance = norms.square().sum(dim=0) / len(rows)
        torch.addcmul(norm.bias, rows, norm.weight / (variance + norm.eps).sqrt(), out=rows)
        functional.leaky_relu_(rows, _NEGATIVE_SLOPE)
    return x


def he_initialise(module: nn.Module) -> None:
    """He-normal weights and zero bias where `module` is a convolution, plain or transposed; else nothing."""
    if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
        nn.init.kaiming_normal_(module.weight, a=_NEGATIVE_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check_image_size(size_ijk: Sequence[int], multiple_ijk: Triple, reduction_ijk: Triple) -> None:
    """Nothing if an encoder can take an image of `size_ijk` voxels.

    Args:
        size_ijk: the image's size in voxels.
        multiple_ijk: what every side must be a multiple of.
        reduction_ijk: by how much the encoder's coarsest grid is smaller than the image.

    Raises:
        ConfigError: if a side is not a multiple, or one voxel would be left at the coarsest grid.
    """
    if any(size % multiple or size == 0 for size, multiple in zip(size_ijk, multiple_ijk, strict=True)):
        msg = (
            f"The image must be a multiple of {multiple_ijk} voxels along i, j, k; got {tuple(size_ijk)}. Pad it first."
        )
        raise ConfigError(msg)
    if math.prod(size_ijk) == math.prod(reduction_ijk):
        msg = (
            f"An image of {tuple(size_ijk)} voxels leaves one voxel at the coarsest stage, which cannot be normalised; "
            "pad it to twice that along one axis."
        )
        raise ConfigError(msg)
