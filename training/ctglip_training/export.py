"""A finished run as a model folder that `ctglip` loads."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from ctglip_training.config import TrainConfig
from CTGLIPLib.checkpoint import CARD, ModelFolder, load_network, open_model_folder, save_model, write_config
from CTGLIPLib.config import Config, ScoreConfig
from CTGLIPLib.files import whole_file
from CTGLIPLib.model import GroundedEncoder

NOT_CALIBRATED = "Not calibrated."


def export_model(config: TrainConfig, network: GroundedEncoder, folder: Path) -> ModelFolder:
    """Write the run's network with a paper-like score (the larger similarity wins) and a card that says so."""
    with torch.no_grad():
        temperature = float(network.temperature)
    score = ScoreConfig(slope=1.0 / temperature, temperature=temperature)
    inference = Config(config.name, config.preprocess, config.model, config.text, score)
    return save_model(folder, inference, network, _card(config))


def _card(config: TrainConfig) -> str:
    held_out = ", ".join(config.data.hold_out) or "none"
    return (
        f"# {config.name}\n\nResearch software, not a medical device. Trained by `ctglip-train pretrain`, method "
        f"{config.method}, on the pool {Path(config.data.pool).name}; subjects held out: {held_out}. {NOT_CALIBRATED}\n"
    )


def load_run_model(run: Path) -> tuple[ModelFolder, GroundedEncoder]:
    """The exported model of a run folder."""
    folder = open_model_folder(run / "model")
    return folder, load_network(folder)


def apply_score(folder: Path, score: ScoreConfig) -> ModelFolder:
    """The model folder with another way to score, such as a calibrated one; its card says so.

    Raises:
        CheckpointError: if it is no model folder of ours.
        OutputError: if it cannot be written.
    """
    model = open_model_folder(folder)
    if score.calibrated_on:
        before = _calibration_words(model.config.score)
        with whole_file(folder / CARD) as temporary:
            temporary.write_text(model.card.replace(before, _calibration_words(score)), encoding="utf-8")
    write_config(folder, dataclasses.replace(model.config, score=score))
    return open_model_folder(folder)


def _calibration_words(score: ScoreConfig) -> str:
    """What a card says of a score."""
    return f"Scores calibrated on {score.calibrated_on}." if score.calibrated_on else NOT_CALIBRATED
