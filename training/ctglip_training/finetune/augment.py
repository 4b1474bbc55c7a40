"""How a crop is changed before the network sees it: nnU-Net's augmentation, through MONAI's transforms.

Conventions (test_finetune_patches.py):
- the same seed gives the same crop, whatever was drawn before;
- intensities are changed in the window's own scale, and stay within 0..1 as in inference;
- a mirrored patient has a mirrored position: the position channels are made afterwards (patches.py).

Source: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z, supplement, for kinds and probabilities.
Differs from it: amounts are in HU, since the pretrained encoders see a fixed window and not z-scores.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from monai.transforms.compose import Compose
from monai.transforms.intensity.array import (
    RandAdjustContrast,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandScaleIntensityFixedMean,
    RandShiftIntensity,
)
from monai.transforms.spatial.array import Affine, RandSimulateLowResolution
from torch import Tensor

from ctglip_training.finetune.config import AugmentConfig

ROTATE, SCALE, MIRROR = 0.2, 0.2, 0.5
NOISE, BLUR, BRIGHTNESS, CONTRAST, LOW_RESOLUTION = 0.1, 0.2, 0.15, 0.15, 0.25
GAMMA, GAMMA_INVERTED = 0.3, 0.1
MARGIN = 1.5
"""How much wider than the crop is read where crops are rotated or scaled, so that corners come from the scan."""


class Augmentation:
    """Changes crops; what it draws depends on the generator that it is given alone.

    Args:
        config: how far crops are changed.
        window_hu: the range that 0..1 stands for.
    """

    def __init__(self, config: AugmentConfig, window_hu: tuple[float, float]) -> None:
        self._config = config
        self._intensity = _intensity_changes(config, window_hu[1] - window_hu[0])

    def moved(
        self, image: Tensor, labels: Tensor, size: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, tuple[bool, bool, bool]]:
        """The crop's middle, rotated, scaled and mirrored, and along which axes it was mirrored.

        Args:
            image: shape (1, i, j, k), at least `size` wide.
            labels: shape (1, i, j, k), float.
            size: edge of what comes back.
            rng: drawn from.
        """
        rotation, zoom = self._draw_move(rng)
        if any(rotation) or zoom != 1:
            image = _affine(image, size, rotation, zoom, "bilinear")
            labels = _affine(labels, size, rotation, zoom, "nearest")
        else:
            image, labels = _middle(image, size), _middle(labels, size)
        mirrored = [bool(rng.random() < MIRROR) and self._config.mirror for _ in range(3)]
        axes = [axis + 1 for axis in range(3) if mirrored[axis]]
        if axes:
            image, labels = image.flip(axes), labels.flip(axes)
        return image, labels, (mirrored[0], mirrored[1], mirrored[2])

    def coloured(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """The crop, float32 in 0..1, with other intensities; shape (1, i, j, k)."""
        self._intensity.set_random_state(seed=int(rng.integers(2**31)))
        changed = self._intensity(image)
        assert isinstance(changed, Tensor)
        return torch.as_tensor(changed).clamp(0, 1)

    def _draw_move(self, rng: np.random.Generator) -> tuple[tuple[float, float, float], float]:
        config = self._config
        turns, scales = rng.random(2) < (ROTATE, SCALE)
        angles = rng.uniform(-1, 1, 3) * math.radians(config.rotation_degrees) * turns
        zoom = float(rng.uniform(*config.scaling)) if scales else 1.0
        return (float(angles[0]), float(angles[1]), float(angles[2])), zoom


def read_size(config: AugmentConfig, patch_voxels: int) -> int:
    """Edge of the cube that a crop of `patch_voxels` is made from."""
    return 2 * math.ceil(patch_voxels * MARGIN / 2) if config.moves_voxels else patch_voxels


def _intensity_changes(config: AugmentConfig, span_hu: float) -> Compose:
    changes = [
        RandGaussianNoise(NOISE, std=config.noise_hu / span_hu),
        RandGaussianSmooth(*[(0.0, config.blur_voxels)] * 3, prob=BLUR if config.blur_voxels else 0.0),
        RandShiftIntensity(config.brightness_hu / span_hu, prob=BRIGHTNESS),
        RandScaleIntensityFixedMean(CONTRAST, config.contrast),
        RandSimulateLowResolution(LOW_RESOLUTION * (config.coarsest < 1), zoom_range=(config.coarsest, 1.0)),
        RandAdjustContrast(GAMMA_INVERTED, config.gamma, invert_image=True, retain_stats=True),
        RandAdjustContrast(GAMMA, config.gamma, retain_stats=True),
    ]
    return Compose(changes, map_items=False)


def _affine(crop: Tensor, size: int, rotation: tuple[float, float, float], zoom: float, mode: str) -> Tensor:
    # MONAI samples at scale * position: a zoom of 2 samples half as far out
    move = Affine(
        rotate_params=rotation, scale_params=(1 / zoom,) * 3, spatial_size=(size,) * 3,
        mode=mode, padding_mode="border", image_only=True,
    )  # fmt: skip
    moved = move(crop)
    assert isinstance(moved, Tensor)
    return torch.as_tensor(moved)


def _middle(crop: Tensor, size: int) -> Tensor:
    start = [(n - size) // 2 for n in crop.shape[1:]]
    return crop[:, start[0] : start[0] + size, start[1] : start[1] + size, start[2] : start[2] + size]
