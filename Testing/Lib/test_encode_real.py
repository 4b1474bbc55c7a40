"""On a real CT the fast ways together give what MONAI's sliding window, torch's modules and one mask an organ give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plain_reference import monai_embeddings, with_torchs_modules

from CTGLIPLib.checkpoint import load_network
from CTGLIPLib.encode import encode_organs
from CTGLIPLib.inputs import InputOptions, load_input
from CTGLIPLib.predict import Predictor
from CTGLIPLib.preprocess import prepare


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.from_pretrained()


@pytest.mark.parametrize("patch_voxels", [128, 112])
def test_embeddings_equal_the_plain_reference(data_folder, predictor, patch_voxels):
    folder = data_folder / "abdomen_example"
    options = InputOptions(vocabulary="totalsegmentator_v1")
    given = load_input(folder / "ct.nii.gz", folder / "seg_v1_104.nii.gz", options)
    config = replace(predictor.config.preprocess, patch_voxels=patch_voxels)
    study = prepare(given.volume, given.segmentation, config)
    found = encode_organs(predictor.network, study, config)
    expected = monai_embeddings(with_torchs_modules(load_network(predictor.folder)), study, config)
    cosine = np.sum(found * expected, axis=1)
    assert np.isfinite(cosine).sum() == (study.geometry.voxels > 0).sum() > 50
    assert np.nanmin(cosine) > 0.9999
