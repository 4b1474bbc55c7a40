"""Model folders: round trip, and every kind of folder that is not to be trusted."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from patient import CONFIG, make_model
from safetensors.torch import load_file

from CTGLIPLib.checkpoint import (
    SCHEMA_VERSION,
    load_network,
    open_model_folder,
    read_text_mean,
    save_model,
    write_config,
)
from CTGLIPLib.config import to_dict
from CTGLIPLib.errors import CheckpointError, OutputError
from CTGLIPLib.model import GroundedEncoder


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be spoilt."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def edit(folder: Path, change) -> None:
    manifest = json.loads((folder / "config.json").read_text())
    change(manifest)
    (folder / "config.json").write_text(json.dumps(manifest))


def test_a_saved_model_gives_equal_outputs(tmp_path):
    torch.manual_seed(3)
    network = GroundedEncoder(CONFIG.model, CONFIG.preprocess).eval()
    network.text_mean.copy_(torch.randn(384))
    saved = save_model(tmp_path / "model", CONFIG, network, "a card")
    loaded = load_network(open_model_folder(tmp_path / "model"))
    image = torch.rand(1, 3, 32, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.features(image), network.features(image), rtol=0, atol=0)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)
    assert not loaded.training
    assert saved.config == CONFIG
    assert saved.card == "a card"
    np.testing.assert_array_equal(read_text_mean(saved), network.text_mean.numpy())


def test_the_identity_follows_weights_and_configuration_and_not_the_card(model, tiny_model, tmp_path):
    (model / "README.md").write_text("another card")
    same = open_model_folder(tiny_model).sha256
    assert open_model_folder(model).sha256 == same
    edit(model, lambda manifest: manifest["config"]["score"].update(threshold=0.7))
    assert open_model_folder(model).sha256 != same
    assert make_model(tmp_path / "other", seed=2).sha256 != same


def test_a_model_without_a_card_has_an_empty_one(model):
    (model / "README.md").unlink()
    assert open_model_folder(model).card == ""


def test_weights_that_may_not_be_read_are_refused(model, monkeypatch):
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("CTGLIPLib.checkpoint.sha256_of", refuse)
    with pytest.raises(CheckpointError, match="could not be read: Permission denied"):
        open_model_folder(model)


def test_altered_weights_are_refused(model):
    raw = bytearray((model / "model.safetensors").read_bytes())
    raw[-5] ^= 1
    (model / "model.safetensors").write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"model.safetensors was altered: its SHA-256 is .*Copy the model folder"):
        open_model_folder(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["config"].update(spacing=2), r"Unknown keys in .*: spacing\. Known are"),
        (lambda m: m["config"]["model"].update(backbones="tiny"), r"Unknown keys in .*\.model: backbones"),
        (lambda m: m["config"]["preprocess"].update(spacing_mm="fine"), "cannot be used"),
        (lambda m: m["config"]["preprocess"].update(spacing_mm=-1.0), "spacing_mm must be positive, got -1.0"),
        (lambda m: m["config"]["score"].update(by_finding=[1]), "cannot be used"),
        (lambda m: m.update(schema_version=SCHEMA_VERSION + 1), r"model schema 2, .* reads up to 1. Update"),
        (lambda m: m.update(schema_version="new"), "not a configuration of CT-GLIP"),
        (lambda m: m.update(config=None), "not a configuration of CT-GLIP"),
        (lambda m: m.pop("weights_sha256"), "expected JSON with schema_version, weights_sha256 and config"),
    ],
)
def test_an_altered_configuration_is_refused(change, message, model):
    edit(model, change)
    with pytest.raises(CheckpointError, match=message):
        open_model_folder(model)


def test_a_configuration_that_is_no_json_is_refused(model):
    (model / "config.json").write_text("{schema")
    with pytest.raises(CheckpointError, match="is not a configuration of CT-GLIP"):
        open_model_folder(model)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_one_of_its_files_is_refused(missing, model):
    (model / missing).unlink()
    with pytest.raises(CheckpointError, match=r"Expected a model folder with config.json and .* got not both in it"):
        open_model_folder(model)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere, got no such folder.*ctglip model list"):
        open_model_folder(tmp_path / "nowhere")


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["model.pt", "checkpoint_final.pth", "pytorch_model.bin"])
def test_a_pickle_is_named_and_never_opened(name, tmp_path):
    folder, sprung = tmp_path / "foreign", tmp_path / "sprung"
    folder.mkdir()
    torch.save({"weights": Trap(sprung)}, folder / name)
    for given in (folder, folder / name):
        with pytest.raises(CheckpointError, match=f"It holds {name}: pickles can run code .* never loaded"):
            open_model_folder(given)
    assert not sprung.exists()


def test_a_pickle_under_the_name_of_the_weights_is_never_opened(model, tmp_path):
    torch.save({"weights": Trap(tmp_path / "sprung")}, model / "model.safetensors")
    write_config(model, CONFIG)
    with pytest.raises(CheckpointError, match="do not fit its config.json"):
        load_network(open_model_folder(model))
    assert not (tmp_path / "sprung").exists()


def test_weights_that_do_not_fit_the_configuration_are_refused(model):
    edit(model, lambda manifest: manifest["config"]["model"].update(hidden_dim=32))
    with pytest.raises(CheckpointError, match=r"do not fit its config.json: .*mixed up; copy it anew"):
        load_network(open_model_folder(model))


def test_the_hash_that_is_written_is_that_of_the_weights(model):
    manifest = json.loads((model / "config.json").read_text())
    assert manifest["weights_sha256"] == hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert manifest["config"] == json.loads(json.dumps(to_dict(CONFIG)))
    assert "text_mean" in load_file(model / "model.safetensors")


def test_a_model_that_cannot_be_written_leaves_no_half_folder_that_opens(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    network = GroundedEncoder(CONFIG.model, CONFIG.preprocess)
    with pytest.raises(OutputError, match="Could not write"):
        save_model(tmp_path / "file" / "model", CONFIG, network, "")

    def full(*_args, **_kwargs) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("CTGLIPLib.checkpoint.json.dumps", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save_model(tmp_path / "model", CONFIG, network, "")
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="not both in it"):
        open_model_folder(tmp_path / "model")
