"""Folders of tumour models: round trip, and every kind of folder that is not to be trusted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from CTGLIPLib.checkpoint import open_model_folder, write_manifest
from CTGLIPLib.errors import CheckpointError
from CTGLIPLib.tumor_checkpoint import load_tumor_network, open_tumor_model, save_tumor_model
from CTGLIPLib.tumor_config import TumorConfig
from CTGLIPLib.tumor_model import TumorSegmenter

CONFIG = TumorConfig("sarcoma", ("muscle", "sarcoma"), ("sarcoma",), backbone="tiny", trained_on="two phantoms")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(2)
    return save_tumor_model(tmp_path / "model", CONFIG, TumorSegmenter(CONFIG), "a card").folder


def test_a_saved_tumour_model_gives_equal_outputs(tmp_path):
    torch.manual_seed(2)
    network = TumorSegmenter(CONFIG).eval()
    saved = save_tumor_model(tmp_path / "model", CONFIG, network, "a card")
    loaded = load_tumor_network(open_tumor_model(tmp_path / "model"))
    image = torch.rand(1, 1, 32, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.logits(image), network.logits(image), rtol=0, atol=0)
    assert not loaded.training
    assert (saved.config, saved.card) == (CONFIG, "a card")


def test_altered_weights_are_refused(folder):
    raw = bytearray((folder / "model.safetensors").read_bytes())
    raw[-5] ^= 1
    (folder / "model.safetensors").write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"model.safetensors was altered: its SHA-256 is"):
        open_tumor_model(folder)


def test_an_altered_configuration_is_refused(folder):
    manifest = json.loads((folder / "config.json").read_text())
    manifest["config"]["tumors"] = ["bone"]
    (folder / "config.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="cannot be used: Every tumour must be one of the classes"):
        open_tumor_model(folder)


def test_weights_of_another_layout_are_refused(folder):
    write_manifest(folder, "tumor", replace(CONFIG, classes=("sarcoma",)))
    with pytest.raises(CheckpointError, match=r"do not fit its config.json: .*mixed up; copy it anew"):
        load_tumor_network(open_tumor_model(folder))


def test_a_model_that_answers_questions_is_no_tumour_model(tiny_model):
    with pytest.raises(CheckpointError, match=r"holds a model that answers questions.*; expected a tumour model"):
        open_tumor_model(tiny_model)


def test_a_folder_written_before_there_were_kinds_answers_questions(tiny_model, tmp_path):
    manifest = json.loads((tiny_model / "config.json").read_text())
    del manifest["kind"]
    (tmp_path / "config.json").write_text(json.dumps(manifest))
    (tmp_path / "model.safetensors").symlink_to(tiny_model / "model.safetensors")
    assert open_model_folder(tmp_path).config == open_model_folder(tiny_model).config
    with pytest.raises(CheckpointError, match="expected a tumour model, for `ctglip segment-tumor"):
        open_tumor_model(tmp_path)


def test_a_tumour_model_answers_no_questions(folder):
    with pytest.raises(CheckpointError, match=r"holds a tumour model.*; expected a model that answers questions"):
        open_model_folder(folder)


def test_a_model_of_an_unknown_kind_is_named(folder):
    write_manifest(folder, "report", CONFIG)
    with pytest.raises(CheckpointError, match="holds a model of kind 'report'; expected a tumour model"):
        open_tumor_model(folder)
