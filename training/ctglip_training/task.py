"""Batch -> named losses, for the two stages of CT-GLIP and for the vanilla-CLIP baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ctglip_training.config import LossConfig
from ctglip_training.contrast import Contrast, Described, Losses
from ctglip_training.distributed import ALONE, Ranks
from ctglip_training.forward import CropFeatures
from ctglip_training.losses import segmentation_loss
from ctglip_training.samples import Sample
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.pooling import OrganPool, voxel_rows


@dataclass(frozen=True, eq=False)
class Crop:
    """A sample on its device, and what draws its random numbers."""

    sample: Sample
    generator: torch.Generator


@dataclass(frozen=True)
class Counts:
    """What the means of a step are taken over: its whole batch, of all parts and processes.

    Attributes:
        patients: all of them.
        named: those with two organs or more.
        told: those of the named of whom something is said about an organ.
        parts: parts that the batch is computed in.
    """

    patients: int
    named: int
    told: int
    parts: int = 1

    @classmethod
    def of(cls, described: Sequence[Sample | Described], parts: int = 1, ranks: Ranks = ALONE) -> Counts:
        """Those of one process's samples or described patients, summed over the processes."""
        named = sum(len(one.organs) > 1 for one in described)
        told = sum(len(one.organs) > 1 and bool(one.texts.told) for one in described)
        patients, named, told = ranks.sum(torch.tensor([len(described), named, told])).tolist()
        return cls(patients, named, told, parts)


class Task:
    """Computes the losses of the parts of a batch.

    A loss comes back as this part's share: summed over the parts and averaged over the processes, the shares are the
    loss of the whole batch, a mean over its patients. What compares patients is the mean over the parts.

    Args:
        model: the network.
        features: computes voxel features with it.
        contrast: compares organs with texts.
        config: weights of the losses.
        ranks: the processes that share a batch.
    """

    def __init__(
        self,
        model: GroundedEncoder,
        features: CropFeatures,
        contrast: Contrast,
        config: LossConfig,
        ranks: Ranks = ALONE,
    ) -> None:
        self._model, self._crop_features, self.contrast = model, features, contrast
        self._config, self._ranks = config, ranks

    def segmentation(self, part: Sequence[Crop], counts: Counts) -> Losses:
        """Stage 1: which organ each voxel belongs to."""
        return self._segmentation(part, self.features(part), counts)

    def grounded(self, part: Sequence[Crop], counts: Counts) -> Losses:
        """Stage 2: Eq. 2 + Eq. 3 + segmentation, and our losses beside the paper's."""
        features = self.features(part)
        described = [
            Described(sample.organs, self.pool(f, sample.layers, sample.geometry), sample.texts, crop.generator)
            for crop, f in zip(part, features, strict=True)
            for sample in [crop.sample]
        ]
        return {**self._segmentation(part, features, counts), **self.head(described, counts)}

    def whole_image(self, part: Sequence[Crop], counts: Counts) -> Losses:
        """Stage 2 of the baseline: whole images against whole reports, and segmentation."""
        features = self.features(part)
        descriptors = [
            self.pool(f, sample.body[None].long(), sample.body_geometry)
            for crop, f in zip(part, features, strict=True)
            for sample in [crop.sample]
        ]
        reports, generators = [crop.sample.texts.report for crop in part], [crop.generator for crop in part]
        return {
            **self._segmentation(part, features, counts),
            **self.whole_head(descriptors, reports, generators, counts),
        }

    def head(self, described: Sequence[Described], counts: Counts) -> Losses:
        """Losses of described organs; in the last stage these are of whole patients, and only the projection learns.

        Empty where no patient of any process has two organs to tell apart.
        """
        embedded = self.contrast.project([d.descriptor for d in described], [d.generator for d in described])
        single = [self.contrast.of_patient(d, organs) for d, organs in zip(described, embedded, strict=True)]
        losses: Losses = {}
        for name in dict.fromkeys(name for one in single for name in one):
            over = counts.named if name in {"anatomy_loss", "organ_top1"} else counts.told
            losses[name] = self._share([one[name] for one in single if name in one], over)
        if self._config.cross_patient:
            losses["cross_patient_loss"] = self.contrast.across_patients(described, embedded) / counts.parts
        return losses

    def whole_head(
        self,
        descriptors: Sequence[Tensor],
        reports: Sequence[str],
        generators: Sequence[torch.Generator],
        counts: Counts,
    ) -> Losses:
        """Vanilla CLIP's loss between whole images, (1, descriptor) each, and whole reports."""
        return {"global_loss": self.contrast.of_images(descriptors, reports, generators) / counts.parts}

    def total(self, losses: Losses) -> Tensor:
        """The weighted sum (Eq. 4)."""
        weights = {
            "anatomy_loss": self._config.anatomy,
            "diagnosis_loss": self._config.diagnosis,
            "segmentation_loss": self._config.segmentation,
            "own_negatives_loss": self._config.own_negatives,
            "cross_patient_loss": self._config.cross_patient,
            "global_loss": 1.0,
        }
        parts = [weights[name] * loss for name, loss in losses.items() if name in weights]
        return torch.stack(parts).sum() if parts else torch.zeros(())

    def pool(self, features: Tensor, layers: Tensor, measures: Tensor) -> Tensor:
        """Descriptors of the organs of `layers`, shape (organ, descriptor), given their measures (organ, measure)."""
        pool = OrganPool(len(measures), self._model.voxel_channels)
        for layer in layers:
            pool.add(features, layer, torch.ones_like(features[0]))
        return self._model.descriptor(pool.means(), measures)

    def features(self, part: Sequence[Crop]) -> list[Tensor]:
        """Voxel features, (feature, i, j, k), of each crop."""
        return self._crop_features([crop.sample.image for crop in part])

    def _segmentation(self, part: Sequence[Crop], features: Sequence[Tensor], counts: Counts) -> Losses:
        losses = [self._segment(crop, f) for crop, f in zip(part, features, strict=True)]
        return {"segmentation_loss": self._share(losses, counts.patients)}

    def _segment(self, crop: Crop, features: Tensor) -> Tensor:
        """Segmentation loss on random voxels, half of them in organs, or on all voxels."""
        sample, device = crop.sample, features.device
        classes = torch.tensor([0, *(self._class_of(name) for name in sample.names)], device=device)
        labels = classes[sample.labels.flatten()]
        if not self._config.segmentation_voxels:
            return segmentation_loss(self._model.segment(features.flatten(1).T), labels)
        half = self._config.segmentation_voxels // 2
        everywhere = torch.randint(len(labels), (half,), generator=crop.generator).to(device)
        inside = labels.nonzero().squeeze(1)
        if len(inside):
            inside = inside[torch.randint(len(inside), (half,), generator=crop.generator).to(device)]
        index = torch.cat([everywhere, inside])
        return segmentation_loss(self._model.segment(voxel_rows(features, index)), labels[index])

    def _class_of(self, organ: str) -> int:
        names = self._model.config.segmentation_organs
        return names.index(organ) + 1 if organ in names else 0

    def _share(self, losses: Sequence[Tensor], over: int) -> Tensor:
        """This part's share of a mean over `over` patients."""
        return torch.stack(list(losses)).sum() * (self._ranks.count / over)
