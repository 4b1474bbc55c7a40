"""Checkpoints that are broken or foreign are refused by name."""

from __future__ import annotations

from dataclasses import replace
from shutil import copytree

import pytest
import torch
from torch.optim import Adam
from training_phantom import smoke_config

from ctglip_training.loop import new_model
from ctglip_training.state import CHECKPOINT, load_run_weights, load_state, read_run_config, save_state
from CTGLIPLib.errors import CheckpointError, ConfigError


def make(pool, **changes):
    config = smoke_config(pool, ("beta",), **changes)
    model = new_model(config)
    return config, model, Adam(model.parameters())


def test_a_state_comes_back_with_its_step_and_weights(pool, tmp_path):
    config, model, optimiser = make(pool)
    save_state(tmp_path, config, 7, model, optimiser)
    other = new_model(replace(config, data=replace(config.data, seed=9)))
    assert not torch.equal(other.projection[0].weight, model.projection[0].weight)
    assert load_state(tmp_path, config, other, Adam(other.parameters())) == 7
    for ours, theirs in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert read_run_config(tmp_path) == config


def test_an_empty_folder_starts_at_step_zero(pool, tmp_path):
    config, model, optimiser = make(pool)
    assert load_state(tmp_path, config, model, optimiser) == 0


@pytest.mark.parametrize("kind", ["empty", "cut", "foreign", "pickle"])
def test_a_broken_or_foreign_checkpoint_is_refused(pool, tmp_path, kind):
    config, model, optimiser = make(pool)
    save_state(tmp_path, config, 1, model, optimiser)
    path = tmp_path / CHECKPOINT
    if kind in {"empty", "cut"}:
        path.write_bytes(path.read_bytes()[: 0 if kind == "empty" else 5000])
    else:
        torch.save({"weights": 1} if kind == "foreign" else {"config": pytest.approx}, path)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt"):
        load_state(tmp_path, config, model, optimiser)
    with pytest.raises(CheckpointError, match="Expected a training run"):
        read_run_config(tmp_path)


def test_a_run_with_another_configuration_is_not_resumed(pool, tmp_path):
    config, model, optimiser = make(pool)
    save_state(tmp_path, config, 1, model, optimiser)
    other = replace(config, optim=replace(config.optim, lr=0.5), name="other")
    with pytest.raises(CheckpointError, match=r"another configuration \(name, optim\)"):
        load_state(tmp_path, other, model, optimiser)


def test_a_checkpoint_without_fitting_weights_is_refused(pool, tmp_path):
    config, model, optimiser = make(pool)
    state = {"config": {}, "step": 1, "model": {}, "optimiser": {}}
    save_state(tmp_path, config, 1, model, optimiser)
    state["config"] = torch.load(tmp_path / CHECKPOINT, weights_only=True)["config"]
    torch.save(state, tmp_path / CHECKPOINT)
    with pytest.raises(CheckpointError, match="do not fit"):
        load_state(tmp_path, config, model, optimiser)


def test_a_run_can_start_from_the_weights_of_another(pool, smoke_run, tmp_path):
    copytree(smoke_run, tmp_path / "first")
    config, _, _ = make(pool, init_from=f"run:{tmp_path / 'first'}")
    started = new_model(config)
    trained = torch.load(smoke_run / CHECKPOINT, weights_only=True)["model"]
    taken = {name for name, value in started.state_dict().items() if torch.equal(value, trained[name])}
    assert {name for name in trained if name.startswith(("backbone.", "segmentation_head."))} <= taken
    assert "projection.0.weight" not in taken
    with pytest.raises(CheckpointError, match="Expected a run of the same backbone"):
        load_run_weights(tmp_path, started)
    with pytest.raises(ConfigError, match="init_from must be"):
        new_model(replace(config, init_from="magic:x"))
