"""The training objectives, as pure functions of embeddings and logits.

Source: Lin et al. 2024, arXiv:2404.15272v4, Eq. 2-4 (anatomy, diagnosis, overall) and Radford et al. 2021 (global).
Differs from the paper: the temperature divides inside the exponent, exp(z.t / tau); as typeset, exp(z.t) / tau, it
cancels and the loss cannot fall below chance. Guard: test_losses.py (values and gradients against plain loops).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def grounded_contrastive_loss(
    organs: Tensor, texts: Tensor, temperature: Tensor | float, extra: Tensor | None = None, same: Tensor | None = None
) -> Tensor:
    """Symmetric InfoNCE over the organs of one image (Eq. 2), with extra negative texts for the organs (Eq. 3).

    loss = mean_j( -log softmax_k(z_j.t_k / tau)[j], over all M + B texts,
                   -log softmax_k(z_k.t_j / tau)[j], over the M organs )

    Args:
        organs: z, unit norm, shape (M, dim).
        texts: t, unit norm, shape (M, dim); texts[j] belongs to organs[j].
        temperature: tau.
        extra: B further texts that are true of no organ here (Eq. 3's dictionary), shape (B, dim).
        same: bool, shape (M, M): pairs whose texts say the same and are both true; they are no negatives.
    """
    count = len(organs)
    similarity = organs @ texts.T / temperature
    if same is not None:
        off_diagonal = same & ~torch.eye(count, dtype=torch.bool, device=same.device)
        similarity = similarity.masked_fill(off_diagonal, float("-inf"))
    to_text = similarity if extra is None else torch.cat([similarity, organs @ extra.T / temperature], dim=1)
    truth = torch.arange(count, device=organs.device)
    return functional.cross_entropy(to_text, truth) + functional.cross_entropy(similarity.T, truth)


def own_negatives_loss(organs: Tensor, texts: Tensor, negatives: Tensor, temperature: Tensor | float) -> Tensor:
    """Each organ's true text against false texts about that same organ.

    Ours, beside the paper: Eq. 3 never sets an abnormal organ's text against "no evident abnormality" in that organ.

    Args:
        organs: z, unit norm, shape (M, dim).
        texts: the true text of each, shape (M, dim).
        negatives: false texts of each, shape (M, T, dim).
        temperature: tau.
    """
    true = (organs * texts).sum(dim=1, keepdim=True)
    false = torch.einsum("md,mtd->mt", organs, negatives)
    logits = torch.cat([true, false], dim=1) / temperature
    return functional.cross_entropy(logits, torch.zeros(len(organs), dtype=torch.long, device=organs.device))


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice over the classes that occur among the voxels.

    Args:
        logits: shape (voxel, class).
        labels: class of each voxel, shape (voxel,).
    """
    cross_entropy = functional.cross_entropy(logits, labels)
    present = labels.unique()
    probability = logits.softmax(dim=1)[:, present]
    truth = (labels[:, None] == present[None]).to(probability.dtype)
    overlap = 2 * (probability * truth).sum(0) / (probability.sum(0) + truth.sum(0)).clamp_min(1e-6)
    return cross_entropy + 1 - overlap.mean()


def global_contrastive_loss(images: Tensor, reports: Tensor, temperature: Tensor | float) -> Tensor:
    """Vanilla CLIP: symmetric InfoNCE between whole images and whole reports of a batch, shapes (batch, dim)."""
    similarity = images @ reports.T / temperature
    truth = torch.arange(len(images), device=images.device)
    return (functional.cross_entropy(similarity, truth) + functional.cross_entropy(similarity.T, truth)) / 2
