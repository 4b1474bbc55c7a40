"""The optimiser, its learning rate at each step, and which weights learn.

Guard: test_finetune_train.py.
"""

from __future__ import annotations

from torch.optim import SGD, Optimizer, RAdam

from ctglip_training.finetune.config import ScheduleConfig
from CTGLIPLib.tumor_model import TumorSegmenter

ENCODER_PARTS = ("encoder.", "stem.", "embeddings.")
"""Names of the encoder's weights in a backbone; the others are its decoder's."""


def make_optimiser(network: TumorSegmenter, schedule: ScheduleConfig) -> Optimizer:
    """The optimiser of all weights."""
    weights = list(network.parameters())
    if schedule.optimiser == "radam":
        return RAdam(weights, lr=schedule.lr, weight_decay=schedule.weight_decay)
    nesterov = schedule.momentum > 0
    return SGD(weights, schedule.lr, schedule.momentum, weight_decay=schedule.weight_decay, nesterov=nesterov)


def learning_rate(schedule: ScheduleConfig, step: int) -> float:
    """The learning rate of a step: lr * (1 - step / steps) ** power."""
    return schedule.lr * (1 - step / schedule.steps) ** schedule.power


def freeze_encoder(network: TumorSegmenter, schedule: ScheduleConfig, step: int) -> None:
    """Set whether the encoder learns in a step."""
    learns = step >= schedule.frozen_encoder_steps
    for name, weight in network.backbone.named_parameters():
        if name.startswith(ENCODER_PARTS):
            weight.requires_grad_(learns)
