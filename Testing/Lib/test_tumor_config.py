"""The configuration of a tumour model."""

from __future__ import annotations

import json

import pytest

from CTGLIPLib.config import PreprocessConfig, from_dict, to_dict
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.tumor_config import TumorConfig


def test_a_configuration_survives_json():
    config = TumorConfig("pancreas", ("pancreas", "mass"), ("mass",), PreprocessConfig(1.2), coordinates=True)
    assert from_dict(TumorConfig, json.loads(json.dumps(to_dict(config)))) == config
    assert config.input_channels == 3
    assert TumorConfig().input_channels == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classes": ()}, r"classes must be a list of one name or more, got \(\)"),
        ({"tumors": ("",)}, "tumors must be a list of one name or more"),
        ({"classes": ("tumor", "tumor")}, "Every name of classes must occur once, got tumor, tumor"),
        ({"classes": ("liver", "mass")}, "Every tumour must be one of the classes liver, mass; got tumor"),
        ({"detection_ml": -1.0}, "detection_ml must be 0 or more, got -1.0"),
        ({"detection_ml": float("nan")}, "detection_ml must be 0 or more, got nan"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        TumorConfig(**values)


def test_a_word_in_place_of_a_list_of_names_is_refused():
    with pytest.raises(ConfigError, match="tumor"):
        from_dict(TumorConfig, {"classes": "tumor"})
