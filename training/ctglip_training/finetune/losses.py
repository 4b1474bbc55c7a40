"""Dice + cross-entropy at every level of the decoder.

Source: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z: loss = sum_l w_l (CE_l + Dice_l), w_l = 2^-l, the coarsest
level without weight, weights adding up to 1. Guard: test_finetune_losses.py holds it against MONAI's DiceCELoss.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ctglip_training.finetune.cache import OUTSIDE

SMOOTH = 1e-5


def supervised_losses(logits: Sequence[Tensor], labels: Tensor) -> dict[str, Tensor]:
    """`cross_entropy_loss` and `dice_loss`, weighted over the levels; their sum is the loss.

    Args:
        logits: of each level, finest first, shape (batch, class, i, j, k).
        labels: int64, shape (batch, i, j, k) of the finest level; `OUTSIDE` counts nowhere.
    """
    weights = level_weights(len(logits))
    cross_entropy, dice = logits[0].new_zeros(()), logits[0].new_zeros(())
    for weight, level in zip(weights, logits, strict=True):
        if weight:
            truth = functional.interpolate(labels[:, None].float(), level.shape[2:], mode="nearest")[:, 0].long()
            cross_entropy = cross_entropy + weight * _cross_entropy(level.float(), truth)
            dice = dice + weight * dice_loss(level.float(), truth)
    return {"cross_entropy_loss": cross_entropy, "dice_loss": dice}


def level_weights(count: int) -> list[float]:
    """Halved from level to level; the coarsest has none, unless it is the only one."""
    raw = [0.5**level for level in range(count)]
    if count > 1:
        raw[-1] = 0.0
    return [weight / sum(raw) for weight in raw]


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - soft Dice over the whole batch, mean over the classes without background.

    dice_c = (2 sum p_c t_c + s) / (sum p_c + sum t_c + s), s = 1e-5.

    Args:
        logits: shape (batch, class, i, j, k).
        labels: shape (batch, i, j, k); `OUTSIDE` counts nowhere.
    """
    inside = labels != OUTSIDE
    probability = logits.softmax(dim=1) * inside[:, None]
    truth = functional.one_hot(labels.masked_fill(~inside, 0), logits.shape[1]).movedim(-1, 1) * inside[:, None]
    over = (0, 2, 3, 4)
    overlap = (probability * truth).sum(over)
    sizes = probability.sum(over) + truth.sum(over)
    return 1 - ((2 * overlap + SMOOTH) / (sizes + SMOOTH))[1:].mean()


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over voxels inside the scan; 0 where there are none."""
    total = functional.cross_entropy(logits, labels, ignore_index=OUTSIDE, reduction="sum")
    return total / torch.clamp((labels != OUTSIDE).sum(), min=1)
