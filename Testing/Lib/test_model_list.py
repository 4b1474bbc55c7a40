"""The list of models: shipped and added ones, found by name or folder, added whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from CTGLIPLib import model_list
from CTGLIPLib.checkpoint import ModelFolder, save_model
from CTGLIPLib.config import Config, ModelConfig, PreprocessConfig, ScoreConfig, TextConfig
from CTGLIPLib.errors import CheckpointError, OutputError
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.model_list import (
    ModelFacts,
    add_model,
    describe_model,
    find_model,
    list_models,
    model_facts,
    user_models_folder,
)

CARD = "---\nlicense: apache-2.0\ntags: [ct]\n---\n# Toy\n\nTrained on nothing.\n"


def _save(folder: Path, name: str, seed: int = 0) -> ModelFolder:
    torch.manual_seed(seed)
    network = ModelConfig("tiny", ("liver", "spleen"), text_dim=8, hidden_dim=8, geometry=True)
    config = Config(name, PreprocessConfig(2.0), network, TextConfig("minilm", "1"))
    return save_model(folder, config, GroundedEncoder(config.model, config.preprocess), CARD)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two model folders of different weights."""
    root = tmp_path_factory.mktemp("models")
    return _save(root / "first", "first").folder, _save(root / "second", "second", seed=1).folder


@pytest.fixture
def shipped(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shipped model `default`, and an empty folder for the user's."""
    shutil.copytree(made[0], tmp_path / "shipped" / "default")
    monkeypatch.setattr(model_list, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("CTGLIP_MODELS", str(tmp_path / "added"))
    return tmp_path / "shipped"


def test_an_added_model_is_listed_after_the_shipped_one_and_found_by_name(shipped, made, tmp_path):
    entry = add_model(made[1])
    assert (entry.name, entry.where, entry.folder) == ("second", "added", tmp_path / "added" / "second")
    assert [(e.name, e.where) for e in list_models()] == [("default", "shipped"), ("second", "added")]
    assert find_model("second").sha256 == entry.sha256 == find_model(str(made[1])).sha256
    assert find_model().sha256 == find_model(str(made[0])).sha256 != entry.sha256
    assert find_model().config.name == "first"


def test_only_weights_configuration_and_card_are_copied(shipped, made, tmp_path):
    folder = shutil.copytree(made[1], tmp_path / "with_more")
    (folder / "state.pt").write_bytes(b"a pickle")
    entry = add_model(folder, "lean")
    assert sorted(path.name for path in entry.folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert sorted(path.name for path in entry.folder.parent.iterdir()) == ["lean"]


def test_a_folder_of_pickles_is_refused(shipped, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "model.pth").write_bytes(b"a pickle")
    with pytest.raises(CheckpointError, match=r"model\.pth: pickles .*never loaded"):
        add_model(tmp_path / "old")
    with pytest.raises(CheckpointError, match="never loaded"):
        find_model(str(tmp_path / "old" / "model.pth"))
    assert not user_models_folder().exists()


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", "a\\b", "x" * 65])
def test_a_name_that_is_no_folder_name_is_refused(shipped, made, name):
    with pytest.raises(CheckpointError, match="A model's name must be"):
        add_model(made[1], name)
    assert not user_models_folder().exists()


def test_a_taken_name_is_refused(shipped, made):
    add_model(made[1])
    for name in ("second", "default", "Default"):
        with pytest.raises(CheckpointError, match="There is a model .* already"):
            add_model(made[0], name)


def test_an_unknown_name_gets_the_names_there_are_and_the_closest(shipped):
    with pytest.raises(CheckpointError, match=r"There are: default\. Did you mean 'default'\?"):
        find_model("defualt")


def test_without_any_model_it_says_how_to_add_one(shipped):
    shutil.rmtree(shipped)
    assert list_models() == ()
    with pytest.raises(CheckpointError, match="ctglip model add DIR"):
        find_model()


def test_an_altered_model_is_left_out_of_the_list_with_a_note(shipped, made, caplog):
    entry = add_model(made[1])
    with (entry.folder / "model.safetensors").open("ab") as file:
        file.write(b"x")
    assert [e.name for e in list_models()] == ["default"]
    assert "second is left out" in caplog.text
    with pytest.raises(CheckpointError, match="was altered"):
        find_model("second")
    with pytest.raises(CheckpointError, match="was altered"):
        add_model(entry.folder, "third")


def test_a_models_folder_that_cannot_be_written_is_told(shipped, made, tmp_path):
    (tmp_path / "added").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="CTGLIP_MODELS"):
        add_model(made[1])


def test_added_models_are_kept_in_the_cache_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("CTGLIP_MODELS", raising=False)
    monkeypatch.setenv("CTGLIP_CACHE", str(tmp_path))
    assert user_models_folder() == tmp_path / "models"


def test_the_description_says_what_the_model_is_and_quotes_its_card(shipped):
    model = find_model()
    rows = dict(line.split("  ", 1) for line in describe_model(model).splitlines() if "  " in line)
    shown = {key.strip(): value.strip() for key, value in rows.items()}
    assert shown["model"] == "first"
    assert shown["sha256"] == model.sha256
    assert shown["vision encoder"] == "tiny, options: geometry"
    assert shown["text encoder"] == "minilm (revision 1), 8-d"
    assert shown["voxels"] == "2 mm, windows of up to 128 voxels"
    assert shown["own segmentation"] == "2 organs"
    assert shown["calibration"] == "none: scores are not probabilities of disease; threshold 0.5"
    assert "license: apache-2.0\n# Toy\n\nTrained on nothing.\n" in describe_model(model)
    assert describe_model(model).endswith("not a medical device.")


def test_the_description_names_what_the_scores_were_calibrated_on(shipped, tmp_path):
    model = find_model()
    score = ScoreConfig(calibrated_on="simulated findings", by_finding={"cyst": (1.0, 0.0)})
    calibrated = ModelFolder(model.folder, Config(score=score), model.sha256)
    assert "simulated findings; threshold 0.5, 1 findings on their own" in describe_model(calibrated)


def test_the_facts_are_those_of_the_cards_front_matter_or_say_that_it_has_none(shipped, made, tmp_path):
    facts = model_facts(find_model())
    assert (facts.licence, facts.data) == ("apache-2.0", "not stated")
    assert facts.knows == "2 organs of its own; none: scores are not probabilities of disease; threshold 0.5"
    folder = Path(shutil.copytree(made[1], tmp_path / "other"))
    (folder / "README.md").write_text(
        "---\nLicence: MIT\ndata: ten CTs: all of phantoms\nknows:  livers \n---\n# Toy\n"
    )
    assert model_facts(find_model(str(folder))) == ModelFacts("MIT", "ten CTs: all of phantoms", "livers")
    (folder / "README.md").unlink()
    assert model_facts(find_model(str(folder))).licence == "not stated"
