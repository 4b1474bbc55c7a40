"""A finished run as a model folder: it loads through CTGLIPLib and gives the same embeddings."""

from __future__ import annotations

from shutil import copytree

import numpy as np
import pytest
import torch
from training_phantom import NAMES, phantom, smoke_config

from ctglip_training.export import apply_score, load_run_model
from ctglip_training.loop import new_model
from ctglip_training.state import CHECKPOINT
from CTGLIPLib.checkpoint import load_network, open_model_folder
from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.encode import encode_organs
from CTGLIPLib.errors import CheckpointError
from CTGLIPLib.preprocess import prepare


def test_the_exported_model_gives_the_trained_networks_embeddings(pool, smoke_run):
    config = smoke_config(pool, ("beta",))
    trained = new_model(config)
    trained.load_state_dict(torch.load(smoke_run / CHECKPOINT, weights_only=True)["model"])
    folder = open_model_folder(smoke_run / "model")
    patient = phantom(9)
    embeddings = [
        encode_organs(
            network, prepare(patient.volume, patient.segmentation, folder.config.preprocess), config.preprocess
        )
        for network in (trained.eval(), load_network(folder))
    ]
    assert embeddings[0].shape == (len(NAMES), 384)
    assert np.array_equal(*embeddings)


def test_the_exported_configuration_is_the_runs(pool, smoke_run):
    config = smoke_config(pool, ("beta",))
    folder, network = load_run_model(smoke_run)
    assert (folder.config.name, folder.config.preprocess) == ("smoke", config.preprocess)
    assert (folder.config.model, folder.config.text) == (config.model, config.text)
    temperature = network.temperature.item()
    assert folder.config.score.temperature == pytest.approx(temperature)
    assert folder.config.score.slope == pytest.approx(1 / temperature)
    assert "held out: beta" in folder.card
    assert "Not calibrated." in folder.card
    assert "not a medical device" in folder.card


def test_a_score_is_applied_to_a_model_without_touching_its_weights(smoke_run, tmp_path):
    copytree(smoke_run / "model", tmp_path / "model")
    before = open_model_folder(tmp_path / "model")
    score = ScoreConfig(20.0, -1.0, 0.3, 0.05, {"fatty_liver": (30.0, -2.0)}, "60 simulated patients")
    after = apply_score(tmp_path / "model", score)
    assert after.config.score == score
    assert (after.config.model, after.config.preprocess) == (before.config.model, before.config.preprocess)
    assert after.sha256 != before.sha256
    weights = [(f / "model.safetensors").read_bytes() for f in (before.folder, smoke_run / "model")]
    assert weights[0] == weights[1]
    assert "Scores calibrated on 60 simulated patients." in after.card
    assert "Not calibrated." not in after.card
    again = apply_score(tmp_path / "model", ScoreConfig(calibrated_on="90 simulated patients"))
    assert "Scores calibrated on 90 simulated patients." in again.card
    assert "60" not in again.card


def test_a_score_is_not_applied_to_what_is_no_model(tmp_path):
    with pytest.raises(CheckpointError, match="Expected a model folder"):
        apply_score(tmp_path, ScoreConfig())
