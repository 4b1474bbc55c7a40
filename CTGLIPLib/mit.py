"""The medical transformer MiT with a U-shaped decoder, ending in full-resolution features.

Source: UniMiSS (Xie et al. 2022, arXiv:2112.09356), encoders tiny and small; CT-GLIP names MiT without its size.
Conventions, each guarded in test_mit.py:
- The stem halves i and j and keeps k, the slice axis; four stages halve every axis.
- Keys and values are shrunk by a strided convolution; the image must divide evenly at every stage (`stride_ijk`).
- Positions are learned on the grid of `native_size_ijk` and trilinearly interpolated to that of the image.

Differs from UniMiSS: positions are interpolated, convolutions are normalised per instance, and a last convolution after
the upsampling makes full-resolution features in place of a segmentation head.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from CTGLIPLib.conv_blocks import ConvBlock, Triple, check_image_size, he_initialise
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.types import Features, Image

_STEM_STRIDE_IJK: Triple = (2, 2, 1)
_NORM_EPS = 1e-6


@dataclass(frozen=True)
class MiTConfig:
    """The layout of a MiT: one entry per stage, from the finest to the coarsest.

    The decoder mirrors the encoder: the stage that returns to a grid has that grid's width, heads and reduction.

    Raises:
        ConfigError: if the tuples differ in length, a width is not a multiple of its heads, or the native size does not
            divide evenly.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (48, 128, 256, 512)
    heads: tuple[int, ...] = (1, 2, 4, 8)
    reductions: tuple[int, ...] = (6, 4, 2, 1)
    stem_width: int = 32
    decoder_depth: int = 2
    mlp_ratio: int = 4
    native_size_ijk: Triple = (96, 96, 96)

    def __post_init__(self) -> None:
        lengths = {len(self.depths), len(self.widths), len(self.heads), len(self.reductions)}
        if len(lengths) != 1 or len(self.depths) < 2:
            msg = f"A MiT needs as many depths, widths, heads and reductions, two or more; got {self}."
            raise ConfigError(msg)
        if any(width % heads for width, heads in zip(self.widths, self.heads, strict=True)):
            msg = f"Every width must be a multiple of its number of heads; got {self.widths} and {self.heads}."
            raise ConfigError(msg)
        check_image_size(self.native_size_ijk, self.multiple_ijk, self.reduction_ijk(len(self.depths) - 1))

    def reduction_ijk(self, stage: int) -> Triple:
        """How much smaller than the image the grid of `stage` is."""
        return cast("Triple", tuple(stem * 2 ** (stage + 1) for stem in _STEM_STRIDE_IJK))

    @property
    def multiple_ijk(self) -> Triple:
        """What every side of the image must be a multiple of."""
        per_stage = [
            tuple(side * reduction for side in self.reduction_ijk(stage))
            for stage, reduction in enumerate(self.reductions)
        ]
        return cast("Triple", tuple(math.lcm(*sides) for sides in zip(*per_stage, strict=True)))


class MiT(nn.Module):
    """Full-resolution features of a volume, `(batch, out_channels, i, j, k)` from `(batch, in_channels, i, j, k)`.

    Attributes:
        out_channels: width of the returned features.
        stride_ijk: every axis of the input must be a multiple of this.
        pyramid_channels: width of each level of `pyramid`.
    """

    def __init__(self, in_channels: int, config: MiTConfig) -> None:
        super().__init__()
        self.config = config
        self.in_channels = in_channels
        self.out_channels = config.stem_width
        self.stride_ijk = config.multiple_ijk
        self.pyramid_channels = (config.stem_width, config.stem_width, *config.widths[:-1])
        n = len(config.depths)
        inputs = (config.stem_width, *config.widths[:-1])
        self.stem = ConvBlock(in_channels, config.stem_width, (7, 7, 7), _STEM_STRIDE_IJK)
        self.embeddings = nn.ModuleList(
            ConvBlock(width_in, width, (3, 3, 3), (2, 2, 2))
            for width_in, width in zip(inputs, config.widths, strict=True)
        )
        self.encoder = nn.ModuleList(_Stage(config, stage, config.depths[stage]) for stage in range(n))
        self.expansions = nn.ModuleList(
            nn.ConvTranspose3d(config.widths[stage + 1], config.widths[stage], 2, 2) for stage in reversed(range(n - 1))
        )
        self.decoder = nn.ModuleList(_Stage(config, stage, config.decoder_depth) for stage in reversed(range(n - 1)))
        self.norm = nn.LayerNorm(config.widths[0], eps=_NORM_EPS)
        self.stem_expansion = nn.ConvTranspose3d(config.widths[0], config.stem_width, 2, 2)
        self.stem_fusion = ConvBlock(config.stem_width, config.stem_width, (3, 3, 3), (1, 1, 1))
        self.head = ConvBlock(config.stem_width, config.stem_width, (3, 3, 3), (1, 1, 1))
        self.apply(_initialise)

    def forward(self, image: Image) -> Features:
        """The features of `image`, at its size.

        Raises:
            ConfigError: if a side is not a multiple of `stride_ijk`, or the image is too small to be normalised.
        """
        return deque(self._levels(image), maxlen=1).pop()  # the coarser levels are not held

    def pyramid(self, image: Image) -> list[Tensor]:
        """The features after every level of the decoder, finest first; the first is what `forward` returns.

        Raises:
            ConfigError: as `forward`.
        """
        return list(self._levels(image))[::-1]

    def _levels(self, image: Tensor) -> Iterator[Tensor]:
        """The output of every level of the decoder, from the coarsest to the finest."""
        coarsest = self.config.reduction_ijk(len(self.config.depths) - 1)
        check_image_size(image.shape[2:], self.stride_ijk, coarsest)
        stem = self.stem(image)
        x, skips = stem, list[Tensor]()
        for embedding, stage in zip(self.embeddings, self.encoder, strict=True):
            x = stage(embedding(x))
            skips.append(x)
        for expansion, stage, skip in zip(self.expansions, self.decoder, reversed(skips[:-1]), strict=True):
            x = stage(expansion(x) + skip)
            yield x
        x = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        x = self.stem_fusion(self.stem_expansion(x) + stem)
        yield x
        yield self.head(functional.interpolate(x, size=image.shape[2:], mode="trilinear"))


class _Stage(nn.Module):
    """Transformer blocks over one grid, with that grid's positions."""

    def __init__(self, config: MiTConfig, stage: int, depth: int) -> None:
        super().__init__()
        width = config.widths[stage]
        sizes = zip(config.native_size_ijk, config.reduction_ijk(stage), strict=True)
        self.positions = nn.Parameter(torch.empty(1, width, *(size // reduction for size, reduction in sizes)))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.blocks = nn.ModuleList(
            _Block(width, config.heads[stage], config.reductions[stage], config.mlp_ratio) for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + resized_positions(self.positions, cast("Triple", tuple(x.shape[2:])))
        for block in self.blocks:
            x = block(x)
        return x


class _Block(nn.Module):
    """Attention, then a two-layer perceptron, each normalised before and added to its input."""

    def __init__(self, width: int, heads: int, reduction: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_NORM_EPS)
        self.attention = _Attention(width, heads, reduction)
        self.norm2 = nn.LayerNorm(width, eps=_NORM_EPS)
        self.mlp = nn.Sequential(nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Linear(mlp_ratio * width, width))

    def forward(self, x: Tensor) -> Tensor:
        size_ijk = cast("Triple", tuple(x.shape[2:]))
        tokens = _to_tokens(x)
        tokens = tokens + self.attention(self.norm1(tokens), size_ijk)
        tokens = tokens + self.mlp(self.norm2(tokens))
        return _to_grid(tokens, size_ijk)


class _Attention(nn.Module):
    """Attention of every voxel to the voxels of a grid that is `reduction` times coarser along each axis."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.projection = nn.Linear(width, width)
        self.shrink = nn.Conv3d(width, width, reduction, reduction) if reduction > 1 else None
        self.shrink_norm = nn.LayerNorm(width, eps=_NORM_EPS) if reduction > 1 else None

    def forward(self, tokens: Tensor, size_ijk: Triple) -> Tensor:
        context = tokens
        if self.shrink is not None and self.shrink_norm is not None:
            context = self.shrink_norm(_to_tokens(self.shrink(_to_grid(tokens, size_ijk))))
        key, value = self.key_value(context).chunk(2, dim=-1)
        attended = functional.scaled_dot_product_attention(
            self._split(self.query(tokens)), self._split(key), self._split(value)
        )
        return self.projection(attended.transpose(1, 2).flatten(2))

    def _split(self, tokens: Tensor) -> Tensor:
        """`(batch, heads, token, width / heads)` from `(batch, token, width)`."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def resized_positions(positions: Tensor, size_ijk: Triple) -> Tensor:
    """`positions`, `(1, width, i, j, k)`, trilinearly interpolated to `size_ijk`; unchanged at their own size."""
    if tuple(positions.shape[2:]) == size_ijk:
        return positions
    return functional.interpolate(positions, size=size_ijk, mode="trilinear", align_corners=False)


def _to_tokens(x: Tensor) -> Tensor:
    """`(batch, token, width)` from `(batch, width, i, j, k)`."""
    return x.flatten(2).transpose(1, 2)


def _to_grid(tokens: Tensor, size_ijk: Triple) -> Tensor:
    """`(batch, width, i, j, k)` from `(batch, token, width)`."""
    return tokens.transpose(1, 2).unflatten(-1, size_ijk)


def _initialise(module: nn.Module) -> None:
    he_initialise(module)
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
