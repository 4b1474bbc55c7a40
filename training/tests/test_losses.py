"""The objectives against plain loops written from the paper's equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from ctglip_training.losses import (
    OrganRows,
    cross_patient_loss,
    global_contrastive_loss,
    grounded_contrastive_loss,
    own_negatives_loss,
    segmentation_loss,
)

TAU = 0.07


def unit_rows(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return sum((a[i] * b[i] for i in range(len(a))), torch.zeros((), dtype=a.dtype))


def looped_grounded(organs, texts, tau, extra=None, same=None):
    total = torch.zeros((), dtype=organs.dtype)
    count = len(organs)
    for j in range(count):
        allowed = [k for k in range(count) if k == j or same is None or not same[j][k]]
        own = (dot(organs[j], texts[j]) / tau).exp()
        over_texts = sum((dot(organs[j], texts[k]) / tau).exp() for k in allowed)
        for text in () if extra is None else extra:
            over_texts = over_texts + (dot(organs[j], text) / tau).exp()
        over_organs = sum((dot(organs[k], texts[j]) / tau).exp() for k in allowed)
        total = total - (own / over_texts).log() - (own / over_organs).log()
    return total / count


@pytest.mark.parametrize("with_extra", [False, True])
@pytest.mark.parametrize("with_same", [False, True])
def test_the_grounded_loss_and_its_gradients_equal_a_plain_loop(with_extra, with_same):
    organs, texts = unit_rows(1, 5, 7).requires_grad_(), unit_rows(2, 5, 7).requires_grad_()
    extra = unit_rows(3, 4, 7) if with_extra else None
    same = torch.eye(5, dtype=torch.bool)
    same[0, 3] = same[3, 0] = True
    same = same if with_same else None
    tau = torch.tensor(TAU, dtype=torch.float64, requires_grad=True)
    loss = grounded_contrastive_loss(organs, texts, tau, extra, same)
    looped = looped_grounded(organs, texts, tau, extra, same)
    assert loss.item() == pytest.approx(looped.item(), rel=1e-10)
    gradients = [torch.autograd.grad(value, (organs, texts, tau)) for value in (loss, looped)]
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-10)


def test_as_typeset_the_temperature_would_cancel_and_the_loss_stay_near_chance():
    rows = torch.eye(6, dtype=torch.float64)
    typeset = -sum(
        math.log(math.exp(float(rows[j] @ rows[j])) / TAU / sum(math.exp(float(rows[j] @ t)) / TAU for t in rows))
        for j in range(6)
    )
    without = -sum(
        math.log(math.exp(float(rows[j] @ rows[j])) / sum(math.exp(float(rows[j] @ t)) for t in rows)) for j in range(6)
    )
    assert typeset == pytest.approx(without)
    assert float(grounded_contrastive_loss(rows, rows, TAU)) < 1e-4 < typeset / 6


def test_texts_marked_the_same_give_no_gradient_between_their_organs():
    organs, texts = unit_rows(4, 3, 5), unit_rows(5, 3, 5).requires_grad_()
    same = torch.ones(3, 3, dtype=torch.bool)
    loss = grounded_contrastive_loss(organs, texts, TAU, same=same)
    assert loss.item() == pytest.approx(0.0, abs=1e-12)


def test_the_own_negatives_loss_and_its_gradient_equal_a_plain_loop():
    organs, texts, negatives = unit_rows(6, 4, 6).requires_grad_(), unit_rows(7, 4, 6), unit_rows(8, 4, 3, 6)
    total = torch.zeros((), dtype=torch.float64)
    for m in range(4):
        true = (dot(organs[m], texts[m]) / TAU).exp()
        false = sum((dot(organs[m], negatives[m][t]) / TAU).exp() for t in range(3))
        total = total - (true / (true + false)).log() / 4
    ours = own_negatives_loss(organs, texts, negatives, TAU)
    assert ours.item() == pytest.approx(total.item(), rel=1e-10)
    assert torch.allclose(torch.autograd.grad(ours, organs)[0], torch.autograd.grad(total, organs)[0], rtol=1e-8)


def test_the_segmentation_loss_equals_a_numpy_loop():
    generator = torch.Generator().manual_seed(9)
    logits = torch.randn(40, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (40,), generator=generator)  # class 4 never occurs and must not count
    probability = np.exp(logits.numpy())
    probability /= probability.sum(1, keepdims=True)
    truth = labels.numpy()
    entropy = -np.mean([np.log(probability[v, truth[v]]) for v in range(40)])
    dice = []
    for c in sorted(set(truth.tolist())):
        both = sum(probability[v, c] for v in range(40) if truth[v] == c)
        dice.append(2 * both / (probability[:, c].sum() + (truth == c).sum()))
    assert float(segmentation_loss(logits, labels)) == pytest.approx(entropy + 1 - np.mean(dice), rel=1e-10)


def test_the_segmentation_loss_of_a_perfect_answer_is_zero():
    labels = torch.tensor([0, 1, 2, 2, 1])
    logits = functional.one_hot(labels, 4).double() * 100
    assert float(segmentation_loss(logits, labels)) == pytest.approx(0.0, abs=1e-12)


def test_the_global_loss_equals_a_plain_loop():
    images, reports = unit_rows(10, 4, 6), unit_rows(11, 4, 6)
    total = 0.0
    for i in range(4):
        row = [math.exp(float(images[i] @ reports[k]) / TAU) for k in range(4)]
        column = [math.exp(float(images[k] @ reports[i]) / TAU) for k in range(4)]
        total -= (math.log(row[i] / sum(row)) + math.log(column[i] / sum(column))) / 8
    assert float(global_contrastive_loss(images, reports, TAU)) == pytest.approx(total, rel=1e-10)


def test_equal_reports_are_no_negatives_where_they_are_marked():
    images, reports = unit_rows(12, 3, 6), unit_rows(13, 3, 6)
    same = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    total = 0.0
    for i in range(3):
        allowed = [k for k in range(3) if k == i or not same[i, k]]
        row = {k: math.exp(float(images[i] @ reports[k]) / TAU) for k in allowed}
        column = {k: math.exp(float(images[k] @ reports[i]) / TAU) for k in allowed}
        total -= (math.log(row[i] / sum(row.values())) + math.log(column[i] / sum(column.values()))) / 6
    assert float(global_contrastive_loss(images, reports, TAU, same)) == pytest.approx(total, rel=1e-10)


ORGAN = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 3, 3])
WORDING = torch.tensor([7, 7, 8, 9, 4, 5, 6, 1, 2, 3])
NORMAL = torch.tensor([True, True, False, True, True, False, False, True, False, True])
"""Organ 1 is normal in both patients, so nothing is told apart there."""


def looped_cross(organs, texts, tau):
    losses = []
    for organ in (0, 2, 3):
        mine = [i for i in range(len(ORGAN)) if ORGAN[i] == organ]
        loss = torch.zeros((), dtype=organs.dtype)
        for i in mine:
            mass = {k: int(i == k) + int(NORMAL[i] and NORMAL[k]) + int(WORDING[i] == WORDING[k]) for k in mine}
            over_texts = sum((dot(organs[i], texts[k]) / tau).exp() for k in mine)
            over_organs = sum((dot(organs[k], texts[i]) / tau).exp() for k in mine)
            for k in mine:
                share = mass[k] / sum(mass.values()) / len(mine) / 2
                loss = loss - share * ((dot(organs[i], texts[k]) / tau).exp() / over_texts).log()
                loss = loss - share * ((dot(organs[k], texts[i]) / tau).exp() / over_organs).log()
        losses.append(loss)
    return sum(losses) / len(losses)


def test_the_contrast_across_patients_and_its_gradients_equal_a_plain_loop():
    organs, texts = unit_rows(14, 10, 6).requires_grad_(), unit_rows(15, 10, 6).requires_grad_()
    tau = torch.tensor(TAU, dtype=torch.float64, requires_grad=True)
    loss = cross_patient_loss(OrganRows(organs, texts, ORGAN, WORDING, NORMAL), tau)
    looped = looped_cross(organs, texts, tau)
    assert loss.item() == pytest.approx(looped.item(), rel=1e-6)
    gradients = [torch.autograd.grad(value, (organs, texts, tau)) for value in (loss, looped)]
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-8)


def test_patients_who_are_all_normal_are_not_told_apart():
    organs, ones = unit_rows(16, 2, 4).requires_grad_(), torch.tensor([1, 1])
    loss = cross_patient_loss(OrganRows(organs, organs, ones, ones, ones > 0), TAU)
    loss.backward()
    assert loss.item() == 0.0
    assert organs.grad is not None
    assert not organs.grad.any()
