"""Voxel features of the crops of a batch, as few forward passes as their shapes allow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from CTGLIPLib.model import GroundedEncoder


def crop_features(model: GroundedEncoder, images: Sequence[Tensor]) -> list[Tensor]:
    """Features (feature, i, j, k) of each image (channel, i, j, k); images of one shape pass together.

    The networks normalise each image by itself, so this equals one pass an image. On a CPU it is also several times
    faster: torch sends a 3-D convolution of a single small image to a slow kernel (docs/training_at_scale.md).
    Guard: test_forward.py.
    """
    by_shape: dict[torch.Size, list[int]] = {}
    for number, image in enumerate(images):
        by_shape.setdefault(image.shape, []).append(number)
    features: dict[int, Tensor] = {}
    for numbers in by_shape.values():
        together = model.features(torch.stack([images[number] for number in numbers]))
        features.update(zip(numbers, together, strict=True))
    return [features[number] for number in range(len(images))]
