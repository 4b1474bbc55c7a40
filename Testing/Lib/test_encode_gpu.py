"""On a CUDA device the embeddings are those of the CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import phantom, phantom_grid, standardised_model

from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.encode import encode_organs
from CTGLIPLib.preprocess import prepare

CONFIG = PreprocessConfig(spacing_mm=3.0, patch_voxels=16, overlap=0.5, min_organ_voxels=1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("patch_voxels", [16, 32])
def test_embeddings_on_a_gpu_are_close_to_those_on_the_cpu(patch_voxels):
    config = replace(CONFIG, patch_voxels=patch_voxels)
    model, study = standardised_model(config), prepare(*phantom(phantom_grid()), config)
    expected = encode_organs(model, study, config)
    found = encode_organs(model.to("cuda"), study, config)
    assert np.nanmin(np.sum(found * expected, axis=1)) >= 0.999
