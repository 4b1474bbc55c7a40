"""Batch -> named losses, for the two stages of CT-GLIP and for the vanilla-CLIP baseline."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ctglip_training.config import LossConfig
from ctglip_training.forward import crop_features
from ctglip_training.losses import (
    global_contrastive_loss,
    grounded_contrastive_loss,
    own_negatives_loss,
    segmentation_loss,
)
from ctglip_training.samples import Sample
from ctglip_training.texts import OrganTexts, TextTable
from CTGLIPLib.model import GroundedEncoder, organ_index
from CTGLIPLib.pooling import OrganPool, voxel_rows

Losses = dict[str, Tensor]


class Task:
    """Computes the losses of one batch.

    Args:
        model: the network.
        table: embeddings of texts.
        text_mean: subtracted from every text embedding, shape (dim,).
        config: weights of the losses.
    """

    def __init__(self, model: GroundedEncoder, table: TextTable, text_mean: Tensor, config: LossConfig) -> None:
        self._model, self._table, self._mean, self._config = model, table, text_mean, config

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Text embeddings as they are contrasted: centred, unit norm, shape (text, dim)."""
        return functional.normalize(self._table(texts) - self._mean, dim=1)

    def segmentation(self, batch: Sequence[Sample], generator: torch.Generator) -> Losses:
        """Stage 1: which organ each voxel belongs to."""
        features = self._features(batch)
        return _mean(
            [{"segmentation_loss": self._segment(s, f, generator)} for s, f in zip(batch, features, strict=True)]
        )

    def grounded(self, batch: Sequence[Sample], generator: torch.Generator) -> Losses:
        """Stage 2: Eq. 2 + Eq. 3 + segmentation, and our loss against false texts of the same organ."""
        several = [sample for sample in batch if len(sample.organs) > 1]
        if not several:  # one organ has nothing to be told from
            return self.segmentation(batch, generator)
        features = self._features(several)
        return _mean([self._grounded_one(s, f, generator) for s, f in zip(several, features, strict=True)])

    def whole_image(self, batch: Sequence[Sample], generator: torch.Generator) -> Losses:
        """Stage 2 of the baseline: whole images against whole reports, and segmentation."""
        features = self._features(batch)
        descriptors = [
            self.pool(s, f, s.body[None].long(), s.body_geometry) for s, f in zip(batch, features, strict=True)
        ]
        losses = _mean(
            [{"segmentation_loss": self._segment(s, f, generator)} for s, f in zip(batch, features, strict=True)]
        )
        return {
            **losses,
            **self.contrast_whole(torch.cat(descriptors), [sample.texts.report for sample in batch], generator),
        }

    def total(self, losses: Losses) -> Tensor:
        """The weighted sum (Eq. 4)."""
        weights = {
            "anatomy_loss": self._config.anatomy,
            "diagnosis_loss": self._config.diagnosis,
            "segmentation_loss": self._config.segmentation,
            "own_negatives_loss": self._config.own_negatives,
            "global_loss": 1.0,
        }
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()

    def pool(self, sample: Sample, features: Tensor, layers: Tensor, geometry: Tensor) -> Tensor:
        """Descriptors of the organs of `layers`, shape (organ, descriptor), given their geometry (organ, 8)."""
        pool = OrganPool(len(geometry))
        maps = self._model.intensity_maps(sample.intensity)
        for layer in layers:
            index, organ = organ_index(layer)
            channels = self._model.voxel_channels(voxel_rows(features, index), voxel_rows(maps, index))
            pool.add(channels, organ, torch.ones(len(index)))
        return self._model.descriptor(pool.means(), geometry)

    def contrast(self, descriptor: Tensor, texts: OrganTexts, generator: torch.Generator) -> Losses:
        """Eq. 2, Eq. 3 and our own-negatives loss for the organs of one patient, from their descriptors.

        Eq. 3 and ours are over the organs of which something certain is told; they are missing where there is none.
        """
        organs = self._project(descriptor, generator)
        losses: Losses = {}
        if self._config.anatomy:
            losses["anatomy_loss"] = grounded_contrastive_loss(organs, self.embed(texts.anatomy), self._temperature)
        if self._config.diagnosis and texts.told:
            told = organs[list(texts.told)]
            diagnosis = self.embed(texts.diagnosis)
            extra = self.embed(texts.extra) if texts.extra else None
            same = torch.tensor([[a == b for b in texts.diagnosis] for a in texts.diagnosis])
            losses["diagnosis_loss"] = grounded_contrastive_loss(told, diagnosis, self._temperature, extra, same)
            if self._config.own_negatives:
                losses["own_negatives_loss"] = self._own_negatives(told, diagnosis, texts.own_negatives)
        return losses

    def contrast_whole(self, descriptors: Tensor, reports: Sequence[str], generator: torch.Generator) -> Losses:
        """Vanilla CLIP's loss between whole images, shape (batch, descriptor), and those reports that are not empty."""
        told = [i for i, report in enumerate(reports) if report]
        if not told:
            return {}
        images = self._project(descriptors[told], generator)
        texts = self.embed([reports[i] for i in told])
        return {"global_loss": global_contrastive_loss(images, texts, self._temperature)}

    def head(self, descriptors: Sequence[Tensor], texts: Sequence[OrganTexts], generator: torch.Generator) -> Losses:
        """The last stage: only the projection learns, from descriptors of whole patients computed once.

        Empty where no patient has two organs to tell apart.
        """
        return _mean([self.contrast(d, t, generator) for d, t in zip(descriptors, texts, strict=True) if len(d) > 1])

    def _grounded_one(self, sample: Sample, features: Tensor, generator: torch.Generator) -> Losses:
        descriptor = self.pool(sample, features, sample.layers, sample.geometry)
        losses = self.contrast(descriptor, sample.texts, generator)
        return {"segmentation_loss": self._segment(sample, features, generator), **losses}

    def _project(self, descriptor: Tensor, generator: torch.Generator) -> Tensor:
        """Embeddings of disturbed descriptors: noise of the whole scan and of each organ, and dropout."""
        rows = self._model.standardise(descriptor)
        if self._config.descriptor_noise:
            scan = torch.randn(1, rows.shape[1], generator=generator)
            organ = torch.randn(rows.shape, generator=generator)
            rows = rows + self._config.descriptor_noise * (scan + organ) / 2
        if self._config.descriptor_dropout:
            kept = torch.rand(rows.shape, generator=generator) >= self._config.descriptor_dropout
            rows = rows * kept / (1 - self._config.descriptor_dropout)
        return functional.normalize(self._model.projection(rows), dim=1)

    def _own_negatives(self, organs: Tensor, diagnosis: Tensor, negatives: Sequence[tuple[str, ...]]) -> Tensor:
        """Our loss over the organs that false texts are known for."""
        asked = [i for i, group in enumerate(negatives) if group]
        if not asked:
            return organs.new_zeros(())
        flat = self.embed([text for i in asked for text in negatives[i]])
        grouped = flat.reshape(len(asked), -1, flat.shape[1])
        return own_negatives_loss(organs[asked], diagnosis[asked], grouped, self._temperature)

    def _features(self, batch: Sequence[Sample]) -> list[Tensor]:
        return crop_features(self._model, [sample.image for sample in batch])

    def _segment(self, sample: Sample, features: Tensor, generator: torch.Generator) -> Tensor:
        """Segmentation loss on random voxels, half of them in organs."""
        classes = torch.tensor([0, *(self._class_of(name) for name in sample.names)])
        labels = classes[sample.labels.flatten()]
        half = self._config.segmentation_voxels // 2
        everywhere = torch.randint(len(labels), (half,), generator=generator)
        inside = labels.nonzero().squeeze(1)
        if len(inside):
            inside = inside[torch.randint(len(inside), (half,), generator=generator)]
        index = torch.cat([everywhere, inside])
        return segmentation_loss(self._model.segment(voxel_rows(features, index)), labels[index])

    def _class_of(self, organ: str) -> int:
        names = self._model.config.segmentation_organs
        return names.index(organ) + 1 if organ in names else 0

    @property
    def _temperature(self) -> Tensor:
        tau = self._model.temperature
        return tau if self._config.learn_temperature else tau.detach()


def _mean(losses: Sequence[Losses]) -> Losses:
    """Mean of each named loss over the samples that have it."""
    names = dict.fromkeys(name for loss in losses for name in loss)
    return {name: torch.stack([loss[name] for loss in losses if name in loss]).mean() for name in names}
