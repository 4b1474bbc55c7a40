"""Every configuration file of the project loads; the paper's holds the paper's values."""

from __future__ import annotations

import pytest
from training_phantom import CONFIGS

from ctglip_training.config import OptimConfig, read_config
from ctglip_training.subjects import data_folder, read_subjects
from CTGLIPLib.backbones import BACKBONES
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.organs import ORGANS
from CTGLIPLib.text_source import encoder_source

OTHERS = ("subjects", "ladder", "finetune")
FILES = sorted(path.name for path in CONFIGS.glob("*.toml") if not path.name.startswith(OTHERS))


@pytest.mark.parametrize("name", FILES)
def test_a_configuration_file_loads_with_a_known_network_and_text_encoder(name):
    config = read_config(CONFIGS / name)
    assert config.model.backbone in BACKBONES
    assert encoder_source(config.text.encoder).name == config.text.encoder
    assert config.model.segmentation_organs == tuple(organ.name for organ in ORGANS)
    assert config.optim.steps > 0


@pytest.mark.parametrize(("name", "backbone"), [("paper.toml", "paper"), ("paper-mit.toml", "mit-small")])
def test_the_papers_configuration_has_its_values_and_none_of_our_options(name, backbone):
    config = read_config(CONFIGS / name)
    model, loss, optim = config.model, config.loss, config.optim
    assert (model.backbone, model.text_dim, model.hidden_dim) == (backbone, 768, 768)
    assert not any((model.coordinates, model.intensity, model.power_mean, model.geometry))
    assert (loss.anatomy, loss.diagnosis, loss.segmentation, loss.dictionary_size) == (0.5, 0.5, 1.0, 512)
    assert (loss.own_negatives, loss.learn_temperature, loss.centre_texts) == (0.0, False, False)
    assert (optim.lr, optim.final_lr, optim.weight_decay, optim.batch) == (1e-3, 1e-6, 3e-5, 8)
    assert optim.segmentation_steps == optim.contrast_steps == 20 * 17_702 // 8
    assert (config.text.encoder, config.method, config.preprocess.spacing_mm) == ("bio_clinicalbert", "ct-glip", 1.5)


def test_the_samples_seen_count_each_stages_batch():
    optim = OptimConfig(batch=2, segmentation_steps=3, contrast_steps=2, head_steps=5, head_batch=7)
    assert [optim.samples_after(step) for step in (0, 3, 5, 6, 10)] == [0, 6, 10, 17, 45]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[optim]\nspeed = 1", "speed"),
        ("name = ", "TOML"),
        ("[preprocess]\nspacing_mm = -1", "spacing_mm"),
        ('method = "ct_glip"', "method must be one of ct-glip, vanilla-clip"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path, text, message):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(tmp_path / "c.toml")


def test_the_subjects_are_listed_with_licence_and_credit(tmp_path):
    subjects = read_subjects(CONFIGS / "subjects.toml")
    assert {"abdomen", "chest", "slab"} <= {subject.id for subject in subjects}
    assert all(subject.licence and subject.credit for subject in subjects)
    (tmp_path / "s.toml").write_text('[[subject]]\nid = "x"')
    with pytest.raises(ConfigError, match="licence"):
        read_subjects(tmp_path / "s.toml")


def test_a_missing_data_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("CTGLIP_DATA", raising=False)
    with pytest.raises(ConfigError, match="CTGLIP_DATA"):
        data_folder(None)
    assert data_folder(tmp_path) == tmp_path
