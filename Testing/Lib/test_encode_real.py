"""On a real CT the fast ways together give what MONAI's sliding window, torch's modules and one mask an organ give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.inferers.inferer import SlidingWindowInferer

from CTGLIPLib.checkpoint import load_network
from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.conv_blocks import ConvBlock
from CTGLIPLib.encode import encode_organs, organ_measures
from CTGLIPLib.inputs import InputOptions, load_input
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.predict import Predictor
from CTGLIPLib.preprocess import Prepared, input_channels, prepare


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.from_pretrained()


def with_torchs_modules(model: GroundedEncoder) -> GroundedEncoder:
    for block in model.modules():
        if isinstance(block, ConvBlock):
            block.forward = torch.nn.Sequential(block.conv, block.norm, block.nonlin).forward  # type: ignore[method-assign]
    return model


@torch.inference_mode()
def plainly(model: GroundedEncoder, study: Prepared, config: PreprocessConfig) -> np.ndarray:
    channels = input_channels(study.image, study.grid, study.body_centre_ras_mm, model.config.coordinates)
    window = [min(n, config.patch_voxels) for n in study.image.shape]
    inferer = SlidingWindowInferer(window, overlap=config.overlap, mode="gaussian")
    pooled = inferer(torch.from_numpy(channels)[None], lambda image: pooled_map(model, image))[0]
    masks = [torch.from_numpy(study.segmentation.mask(name)) for name in study.segmentation.names]
    means = torch.stack([pooled[:, mask].mean(dim=1) for mask in masks])
    return model.project(model.descriptor(means, torch.from_numpy(organ_measures(model.config, study, config)))).numpy()


def pooled_map(model: GroundedEncoder, image: torch.Tensor) -> torch.Tensor:
    """What is averaged over organs, at every voxel of a window: features and their 4th powers."""
    features = model.features(image)
    return torch.cat([features, features.clamp_min(0) ** 4], dim=1)


@pytest.mark.parametrize("patch_voxels", [128, 112])
def test_embeddings_equal_the_plain_reference(data_folder, predictor, patch_voxels):
    folder = data_folder / "abdomen_example"
    options = InputOptions(vocabulary="totalsegmentator_v1")
    given = load_input(folder / "ct.nii.gz", folder / "seg_v1_104.nii.gz", options)
    config = replace(predictor.config.preprocess, patch_voxels=patch_voxels)
    study = prepare(given.volume, given.segmentation, config)
    found = encode_organs(predictor.network, study, config)
    expected = plainly(with_torchs_modules(load_network(predictor.folder)), study, config)
    cosine = np.sum(found * expected, axis=1)
    assert np.isfinite(cosine).sum() == (study.geometry.voxels > 0).sum() > 50
    assert np.nanmin(cosine) > 0.9999
