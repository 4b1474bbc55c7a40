"""The grounded encoder: window of CT -> voxel features -> organ descriptor -> organ embedding.

The parts are used one by one by the streaming encoder (encode.py) and by training, so this module holds no loop.
Source: Lin et al. 2024, arXiv:2404.15272v4, section 4.2 "Model Architecture".
Differs from the paper where `ModelConfig` switches an option on; with all options off it is the paper's model.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from CTGLIPLib.backbones import build_backbone, features_of_any_size
from CTGLIPLib.config import ModelConfig, PreprocessConfig
from CTGLIPLib.core_and_shell import CORE_AND_SHELL_FEATURES
from CTGLIPLib.intensity import BINS
from CTGLIPLib.organ_geometry import GEOMETRY_FEATURES

POWER = 4.0
LOG_SCALE = 1000.0
LEAST_DEVIATION = 0.05
"""Added to a descriptor's spread: one that hardly varied in training must not be blown up by a small shift."""


class GroundedEncoder(nn.Module):
    """Network of CT-GLIP's image side, with the segmentation head of its first training stage."""

    text_mean: Tensor

    def __init__(self, config: ModelConfig, preprocess: PreprocessConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone, config.input_channels)
        width = self.backbone.out_channels
        self.segmentation_head = nn.Linear(width, len(config.segmentation_organs) + 1)
        self.window_hu = preprocess.window_hu
        pooled = width * (2 if config.power_mean else 1)
        extra = (2 * BINS if config.intensity else 0) + (GEOMETRY_FEATURES if config.geometry else 0)
        extra += CORE_AND_SHELL_FEATURES if config.core_and_shell else 0
        # Options add quantities of very different scale (a stone is 1e-3 of a kidney's histogram): bring all to one.
        several = extra or config.power_mean
        self.standardise = RunningStandardise(pooled + extra, config.descriptor_limit) if several else nn.Identity()
        self.projection = nn.Sequential(
            nn.Linear(pooled + extra, config.hidden_dim), nn.ReLU(), nn.Linear(config.hidden_dim, config.text_dim)
        )
        self.log_temperature = nn.Parameter(torch.tensor(0.07).log())
        self.register_buffer("text_mean", torch.zeros(config.text_dim))

    def features(self, image: Float[Tensor, "batch channel i j k"]) -> Float[Tensor, "batch feature i j k"]:
        """Voxel features at the input's resolution, whatever its size."""
        return features_of_any_size(self.backbone, self.backbone.stride_ijk, image)

    def voxel_channels(self, features: Float[Tensor, "voxel feature"]) -> Float[Tensor, "voxel channel"]:
        """What is averaged over an organ: its voxels' backbone features and, by option, their 4th powers."""
        if not self.config.power_mean:
            return features
        return torch.cat([features, functional.relu(features).square().square()], dim=1)

    def descriptor(
        self, means: Float[Tensor, "organ channel"], measures: Float[Tensor, "organ measure"]
    ) -> Float[Tensor, "organ descriptor"]:
        """Pooled channels as the projection reads them: roots of powers, logarithms of small shares, then measures.

        Args:
            means: what `voxel_channels` says of the organ's voxels, averaged.
            measures: `encode.organ_measures`: what the organ is like without the network.
        """
        width = self.backbone.out_channels
        around = GEOMETRY_FEATURES + (CORE_AND_SHELL_FEATURES if self.config.core_and_shell else 0)
        measures = measures.to(means.dtype)
        parts = [means[:, :width]]
        if self.config.power_mean:
            parts.append(means[:, width:].clamp_min(1e-12) ** (1 / POWER))
        if self.config.intensity:
            shares = measures[:, around:]
            parts += [shares, torch.log1p(LOG_SCALE * shares.clamp_min(0))]
        if self.config.geometry:
            parts.append(measures[:, :GEOMETRY_FEATURES])
        if self.config.core_and_shell:
            parts.append(measures[:, GEOMETRY_FEATURES:around])
        return torch.cat(parts, dim=1)

    def project(self, descriptor: Float[Tensor, "organ descriptor"]) -> Float[Tensor, "organ dim"]:
        """Organ embeddings: two-layer MLP, unit norm."""
        return functional.normalize(self.projection(self.standardise(descriptor)), dim=1)

    def segment(self, features: Float[Tensor, "voxel feature"]) -> Float[Tensor, "voxel class"]:
        """Logits of background and every organ of the segmentation head, for single voxels."""
        return self.segmentation_head(features)

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """Learned temperature, kept in 0.01..0.5."""
        return self.log_temperature.exp().clamp(0.01, 0.5)


class RunningStandardise(nn.Module):
    """Each descriptor brought to mean 0 and variance 1 by running statistics, in training as in use.

    In use, unlike batch norm in training, the output never depends on which other organs are in the batch.

    Args:
        width: of a descriptor.
        limit: values are cut to plus and minus this; 0 = no limit.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, width: int, limit: float = 0.0) -> None:
        super().__init__()
        self.limit = limit or float("inf")
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "row width"]:
        """The standardised rows; in training mode the statistics follow them first."""
        if self.training and len(rows) > 1:
            self._follow(rows.detach())
        return ((rows - self.mean) / (self.variance.sqrt() + LEAST_DEVIATION)).clamp(-self.limit, self.limit)

    def fit(self, rows: Float[Tensor, "row width"]) -> None:
        """Take the statistics of these rows and keep them: training no longer moves them."""
        self.mean.copy_(rows.mean(0))
        self.variance.copy_(rows.var(0, unbiased=False))
        self.eval()

    def _follow(self, rows: Tensor) -> None:
        share = torch.clamp(1 / (self.batches + 1), min=0.02)
        self.mean.lerp_(rows.mean(0), float(share))
        self.variance.lerp_((rows - self.mean).square().mean(0), float(share))
        self.batches += 1
