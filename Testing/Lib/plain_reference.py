"""Organ embeddings as one would compute them with MONAI and torch alone: what the fast ways must equal, and beat.

Used by test_encode_real.py and Testing/Benchmarks/bench_study.py.
"""

from __future__ import annotations

import numpy as np
import torch
from monai.inferers.inferer import SlidingWindowInferer
from torch import nn

from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.conv_blocks import ConvBlock
from CTGLIPLib.encode import organ_measures
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.preprocess import Prepared, input_channels


def with_torchs_modules(network: GroundedEncoder) -> GroundedEncoder:
    """The network with every convolution block as its three torch modules."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, ConvBlock):
                setattr(module, name, nn.Sequential(child.conv, child.norm, child.nonlin))
    return network


@torch.inference_mode()
def monai_embeddings(model: GroundedEncoder, study: Prepared, config: PreprocessConfig) -> np.ndarray:
    """Shape (organ, dim): MONAI's sliding window, the whole map of what is pooled, one mask after the other."""
    channels = input_channels(study.image, study.grid, study.body_centre_ras_mm, model.config.coordinates)
    window = [min(n, config.patch_voxels) for n in study.image.shape]
    inferer = SlidingWindowInferer(window, overlap=config.overlap, mode="gaussian")
    pooled = inferer(torch.from_numpy(channels)[None], lambda image: pooled_map(model, image))[0]
    means = []
    for name in study.segmentation.names:
        mask = torch.from_numpy(study.segmentation.mask(name))
        means.append(pooled[:, mask].mean(dim=1))
    measures = torch.from_numpy(organ_measures(model.config, study, config))
    return model.project(model.descriptor(torch.stack(means), measures)).numpy()


def pooled_map(model: GroundedEncoder, image: torch.Tensor) -> torch.Tensor:
    """What is averaged over organs, at every voxel of a window: features and, by option, their 4th powers."""
    features = model.features(image)
    return torch.cat([features, features.clamp_min(0) ** 4], dim=1) if model.config.power_mean else features
