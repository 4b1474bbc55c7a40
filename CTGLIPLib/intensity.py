"""Soft histograms of HU: how much of an organ is how dense, what stands out of it, and with how little noise.

Ours, beside the paper: averages of learned features need many patients to tell a calcification from noise.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

HU_CENTRES = (
    -1000.0, -950.0, -900.0, -800.0, -600.0, -300.0, -100.0, -50.0, -20.0, 0.0,
    20.0, 40.0, 60.0, 90.0, 130.0, 200.0, 300.0, 500.0, 1000.0,
)  # fmt: skip
CONTRAST_CENTRES = (-400.0, -150.0, -80.0, -40.0, -20.0, 0.0, 20.0, 40.0, 80.0, 150.0, 400.0)
MAP_CENTRES = (HU_CENTRES, HU_CENTRES, CONTRAST_CENTRES)
"""Bin centres of each of `hu_maps`."""
BINS = sum(len(centres) for centres in MAP_CENTRES)
NEAR_VOXELS, WIDE_VOXELS = 3, 9


def hu_maps(hu: Float[Tensor, "i j k"]) -> Float[Tensor, "3 i j k"]:
    """HU as it is; its mean over 3x3x3 voxels, which has less noise; and that mean's difference to 9x9x9 voxels."""
    near = _box_mean(hu, NEAR_VOXELS)
    return torch.stack([hu, near, near - _box_mean(hu, WIDE_VOXELS)])


def histograms(maps: Float[Tensor, "voxel 3"]) -> Float[Tensor, "voxel bin"]:
    """Each voxel's share in the bins of the three maps, side by side."""
    columns = [
        soft_histogram(maps[:, number], torch.tensor(centres, dtype=maps.dtype, device=maps.device))
        for number, centres in enumerate(MAP_CENTRES)
    ]
    return torch.cat(columns, dim=1)


def soft_histogram(hu: Float[Tensor, " voxel"], centres: Float[Tensor, " bin"]) -> Float[Tensor, "voxel bin"]:
    """Share of each HU bin in single voxels: linear between the two nearest centres, summing to 1."""
    inside = hu.clamp(centres[0], centres[-1])
    upper = torch.searchsorted(centres, inside).clamp(1, len(centres) - 1)
    fraction = (inside - centres[upper - 1]) / (centres[upper] - centres[upper - 1])
    shares = torch.zeros(len(hu), len(centres), dtype=hu.dtype, device=hu.device)
    shares.scatter_(1, upper[:, None], fraction[:, None])
    return shares.scatter_(1, upper[:, None] - 1, 1 - fraction[:, None])


def _box_mean(hu: Float[Tensor, "i j k"], edge: int) -> Float[Tensor, "i j k"]:
    """Mean over a cube of `edge` voxels, one axis after the other; the border is repeated."""
    rows = hu[None, None]
    for axis in range(3):
        half = [0, 0, 0]
        half[axis] = edge // 2
        kernel = [2 * h + 1 for h in half]
        padded = functional.pad(rows, (half[2], half[2], half[1], half[1], half[0], half[0]), mode="replicate")
        rows = functional.avg_pool3d(padded, kernel, stride=1)
    return rows[0, 0]
