"""Organ descriptors of whole patients, computed once, for the stage in which only the projection learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ctglip_training.config import TrainConfig
from ctglip_training.simulate.patient import Patient
from ctglip_training.store import PoolEntry, read_patient
from ctglip_training.whole_image import whole_body
from CTGLIPLib.encode import organ_descriptors
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.preprocess import prepare_on_grid


@dataclass(frozen=True, eq=False)
class Described:
    """A patient as the projection sees it.

    Attributes:
        patient: names and findings; its voxels are dropped.
        organs: the organs large enough to count.
        descriptor: shape (organ, descriptor), of those organs.
        whole: shape (1, descriptor), of the whole body; for vanilla CLIP.
    """

    patient: Patient
    organs: tuple[str, ...]
    descriptor: Tensor
    whole: Tensor

    @property
    def pooled(self) -> Tensor:
        """The rows that the run's method projects, shape (row, descriptor); the other kind is empty."""
        return torch.cat([self.descriptor, self.whole])


def describe_patients(
    model: GroundedEncoder, config: TrainConfig, entries: Sequence[PoolEntry]
) -> dict[Path, Described]:
    """Descriptors of every patient by the network as it is now."""
    was_training = model.training
    model.eval()
    described = {entry.path: _describe(model, config, read_patient(entry.path)) for entry in entries}
    model.train(was_training)
    return described


def _describe(model: GroundedEncoder, config: TrainConfig, patient: Patient) -> Described:
    prepared = prepare_on_grid(patient.volume, patient.segmentation, config.preprocess)
    kept = np.flatnonzero(prepared.geometry.voxels >= config.preprocess.min_organ_voxels)
    organs = tuple(patient.segmentation.names[i] for i in kept)
    if config.method == "ct-glip":
        descriptor = organ_descriptors(model, prepared, config.preprocess).clone()[torch.from_numpy(kept)]
        whole = descriptor[:0]
    else:
        whole = organ_descriptors(model, whole_body(patient, prepared), config.preprocess).clone()
        descriptor = whole[:0]
    empty = np.zeros((1, 1, 1), dtype=np.float32)
    bare = replace(
        patient,
        volume=replace(patient.volume, array=empty, grid=replace(patient.volume.grid, shape_ijk=(1, 1, 1))),
        segmentation=replace(
            patient.segmentation,
            layers=empty[None].astype(np.uint16),
            grid=replace(patient.volume.grid, shape_ijk=(1, 1, 1)),
        ),
    )
    return Described(bare, organs, descriptor, whole)
