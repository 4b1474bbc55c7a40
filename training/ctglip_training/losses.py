"""The training objectives, as pure functions of embeddings and logits.

Source: Lin et al. 2024, arXiv:2404.15272v4, Eq. 2-4 (anatomy, diagnosis, overall) and Radford et al. 2021 (global).
Differs from the paper: the temperature divides inside the exponent, exp(z.t / tau); as typeset, exp(z.t) / tau, it
cancels and the loss cannot fall below chance. Guard: test_losses.py (values and gradients against plain loops).
"""

from __future__ import annotations

from dataclasses import dataclass

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
        similarity = similarity.masked_fill(_beside_diagonal(same), float("-inf"))
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


def global_contrastive_loss(
    images: Tensor, reports: Tensor, temperature: Tensor | float, same: Tensor | None = None
) -> Tensor:
    """Vanilla CLIP: symmetric InfoNCE between whole images and whole reports of a batch, shapes (batch, dim).

    Args:
        images: unit norm.
        reports: unit norm; reports[j] belongs to images[j].
        temperature: tau.
        same: bool, shape (batch, batch): pairs whose reports say the same; they are no negatives.
    """
    similarity = images @ reports.T / temperature
    if same is not None:
        similarity = similarity.masked_fill(_beside_diagonal(same), float("-inf"))
    truth = torch.arange(len(images), device=images.device)
    return (functional.cross_entropy(similarity, truth) + functional.cross_entropy(similarity.T, truth)) / 2


@dataclass(frozen=True, eq=False)
class OrganRows:
    """Organs of several patients, one a row.

    Attributes:
        organs: embeddings, unit norm, shape (row, dim).
        texts: of their diagnoses, unit norm, shape (row, dim).
        organ: int64, shape (row,): equal numbers for the same organ.
        wording: int64, shape (row,): equal numbers for the same text.
        normal: bool, shape (row,): whether the text says that nothing is wrong.
    """

    organs: Tensor
    texts: Tensor
    organ: Tensor
    wording: Tensor
    normal: Tensor


def cross_patient_loss(rows: OrganRows, temperature: Tensor | float) -> Tensor:
    """Contrast of each organ across patients, in which what may be said of both patients is no negative.

    targets = (1 on the diagonal) + (both normal) + (same text), each row divided by its sum;
    loss of an organ = mean over both directions of the cross-entropy of softmax(z_i.t_k / tau) with the targets;
    returned is the mean over the organs that two or more patients share, of whom one or more is not normal and not all
    are alike; 0 where there is none.

    Source: fVLM (Shui et al. 2025, arXiv:2501.14548), the targets of its released code.
    Differs from it: the mean over organs, not their sum, so that the weight does not depend on the crop.
    """
    losses = [
        _soft_loss(rows.organs[mine], rows.texts[mine], targets, temperature)
        for number in rows.organ.unique()
        for mine in [(rows.organ == number).nonzero().squeeze(1)]
        for targets in [_cross_targets(rows.normal[mine], rows.wording[mine])]
        if not bool(rows.normal[mine].all()) and bool((targets != targets[0, 0]).any())
    ]
    return torch.stack(losses).mean() if losses else 0 * rows.organs.sum()


def _cross_targets(normal: Tensor, wording: Tensor) -> Tensor:
    """How much of each row's mass each pair gets, shape (row, row)."""
    own = torch.eye(len(normal), device=normal.device)
    alike = own + (normal[:, None] & normal[None]).float() + (wording[:, None] == wording[None]).float()
    return alike / alike.sum(dim=1, keepdim=True)


def _soft_loss(organs: Tensor, texts: Tensor, targets: Tensor, temperature: Tensor | float) -> Tensor:
    similarity = organs @ texts.T / temperature
    targets = targets.to(similarity.dtype)
    return (functional.cross_entropy(similarity, targets) + functional.cross_entropy(similarity.T, targets)) / 2


def _beside_diagonal(same: Tensor) -> Tensor:
    return same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
